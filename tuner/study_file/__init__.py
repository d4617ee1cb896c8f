"""Study files: from text to a frozen, resolved specification."""
