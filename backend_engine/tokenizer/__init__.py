"""Text to token ids and back, exactly as the model was trained."""

from backend_engine.tokenizer.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
