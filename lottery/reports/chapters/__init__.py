"""The chapters of a report: what is shown of the comparison, in tables and figures."""
