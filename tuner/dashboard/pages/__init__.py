"""The pages: a file each, of routes that fill a template."""
