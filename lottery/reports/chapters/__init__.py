"""The chapters of a report: paragraphs, tables and figures, one module for each chapter and its figures."""
