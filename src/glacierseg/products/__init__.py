"""From the products that agencies deliver to scenes."""
