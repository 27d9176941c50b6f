"""From a scene or a product to an inventory and a page, in one command."""
