"""All the SQL: connections, schema, and what is read and written in them."""
