"""What pages are made of: templates, static files, small charts."""
