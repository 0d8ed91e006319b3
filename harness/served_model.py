"""What MLflow runs to load a logged model ("models from code"): no object of ours is pickled."""

from harness.logged_model import offer_to_mlflow

offer_to_mlflow()
