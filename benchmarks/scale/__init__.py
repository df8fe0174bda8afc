"""A million products and more: candidates, filters, memory, growth, and what others would use instead."""
