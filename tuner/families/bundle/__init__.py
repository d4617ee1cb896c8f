"""What exports ask of a family: to evaluate weights, to retrain, to convert to other formats."""
