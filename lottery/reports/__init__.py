"""What runs came to, read from their records and drawn: the parts of `report.py`, each with one job."""
