"""The pages: one file per page, with routes that fill a template."""
