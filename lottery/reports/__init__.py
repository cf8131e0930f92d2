"""Reports on finished runs (report.py): comparison/ computes, chapters/ shows, html.py and markdown.py render."""
