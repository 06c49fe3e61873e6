"""batchway gives every LLM request its cheapest way, and loses none of them."""

__version__ = "0.1.0"
__all__ = ["__version__"]
