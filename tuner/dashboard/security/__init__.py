"""What keeps out whom: guards of every request, who asks, what is written down of it."""
