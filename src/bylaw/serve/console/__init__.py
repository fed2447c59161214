"""The console: pages for people who answer, watch and stop. Nothing is loaded from elsewhere, and no page needs the script."""
