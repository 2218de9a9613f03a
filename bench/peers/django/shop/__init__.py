"""The origin's shop, as far as an order needs it. See ../../README.md."""
