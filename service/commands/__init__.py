"""The commands of churn-warning, one module each; they parse, call, print, and decide nothing."""
