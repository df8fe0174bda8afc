"""What a query and a product are, and how they become hyperboloids and points."""
