"""What exports ask of a family: its weights evaluated, retrained, in other formats."""
