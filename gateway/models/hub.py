"""Models from the Hugging Face hub. Its client resumes, shares HF_HOME's cache and knows HF_TOKEN."""

from __future__ import annotations

from pathlib import Path

from gateway.models.errors import ModelUnknown, NotAModel, PullFailed
from gateway.models.store import ModelStore, holds_model

WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
)
# Subfolders hold other formats of the same weights, and so do Mistral's consolidated files.
UNWANTED = ("*/*", "consolidated*")


def pull_from_hub(name: str, repo: str, file: str | None, store: ModelStore) -> Path:
    """Download a repository's safetensors, or one GGUF file of it, and refer to it from the store.

    Raises ModelUnknown, NotAModel, PullFailed.
    """
    # Imported here: it takes as long as the rest of the gateway, and only this needs it.
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        if file is not None:
            path = Path(hf_hub_download(repo, file))
        else:
            path = Path(snapshot_download(repo, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)))
    except GatedRepoError as error:
        raise PullFailed(
            f"Access to '{repo}' must be granted on its Hugging Face page; then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnknown(
            f"Hugging Face has no repository '{repo}', or it is private: then set HF_TOKEN."
        ) from error
    except LocalEntryNotFoundError as error:
        raise PullFailed(
            f"Model '{name}' could not be downloaded: Hugging Face cannot be reached, and its cache here "
            "does not have it. Check the network, proxy or HF_ENDPOINT and run the command again."
        ) from error
    except EntryNotFoundError as error:
        raise ModelUnknown(f"The Hugging Face repository '{repo}' has no file '{file}'.") from error
    except Exception as error:  # its HTTP library's own errors come through as well
        raise PullFailed(f"Model '{name}' could not be downloaded from Hugging Face: {error}") from error
    if not holds_model(path):
        raise NotAModel(f"'{repo}' has no safetensors weights. For one of its GGUF files: {repo}:FILE.gguf")
    store.refer(name, path)
    return path
