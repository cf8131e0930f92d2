"""What finished runs and tickets are like: stability, robustness, and whether their files hold what they should."""
