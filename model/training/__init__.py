"""The back room: everything that only training needs."""
