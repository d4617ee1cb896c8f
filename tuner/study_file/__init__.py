"""Study files: from text to a frozen, fully resolved specification."""
