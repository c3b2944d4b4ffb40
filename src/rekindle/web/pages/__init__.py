"""The console's pages: each module adds the pages, live parts and actions of one noun."""
