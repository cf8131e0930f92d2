"""What runs are compared by: methods, statistics, costs, masks and verdicts, all without drawing."""
