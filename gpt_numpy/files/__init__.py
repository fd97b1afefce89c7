"""Write files that survive crashes, and read files from outside without trusting them."""
