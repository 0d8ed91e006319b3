"""A study as one page that can be sent: figures, tables and what to know of them."""
