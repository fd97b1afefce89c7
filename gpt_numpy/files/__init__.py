"""Files that survive crashes: durable writing, locks, zip archives, safe pickles, downloads."""
