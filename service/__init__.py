"""churn-warning: streaming churn warnings for mobile operators."""
