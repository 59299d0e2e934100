"""What the hub and the way to it can answer, each as one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import InputError, ModelError, ResourceError
from core.measure.network import route, without_credentials

LOGIN = "`hf auth login`, or the variable HF_TOKEN"


@contextmanager
def hub_errors(repository: str, revision: str = "") -> Iterator[None]:
    """Within it, whatever the hub's client raises becomes ModelError or ResourceError about this repository."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the hub's client changes its transport, and with it what it raises
        raise _explained(repository, revision, error) from error


def _explained(repository: str, revision: str, error: Exception) -> InputError:
    from huggingface_hub import errors

    way = route()
    page = f"{way.endpoint}/{repository}"
    if isinstance(error, errors.HFValidationError):
        return ModelError(f"'{repository}' is not the name of a model on the hub: {error}")
    if isinstance(error, errors.GatedRepoError):
        return ModelError(_gated(repository, page))
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelError(
            f"The hub at {way.words} has no model {repository}, or it is private. Check the name, or log in ({LOGIN})."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(
            f"{repository} has no revision '{revision}'. Leave it out for the newest, or choose one at {page}."
        )
    if isinstance(error, errors.DisabledRepoError):
        return ModelError(f"The hub has disabled {repository}. Choose another model, or ask its owner.")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return ResourceError(
            f"{repository} is not in the local cache, and {way.offline} forbids to ask the hub. Unset it."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        from huggingface_hub import constants

        return ResourceError(
            f"The disk is full: {repository} was not fetched whole. Free some in {constants.HF_HUB_CACHE}, or put "
            "the hub's cache on another disk with HF_HOME."
        )
    return _of_the_way(repository, error)


def _gated(repository: str, page: str) -> str:
    from huggingface_hub import get_token

    if get_token() is None:
        return f"{repository} is gated. Accept its conditions at {page}, then log in ({LOGIN})."
    return (
        f"{repository} is gated, and the account that you are logged in with may not read it. Accept its conditions at "
        f"{page} and wait for its owner, or log in with a token that may read gated repositories ({LOGIN})."
    )


def _of_the_way(repository: str, error: Exception) -> InputError:
    """Certificates, proxies, an answer that is none, a connection that ends."""
    way, text = route(), _chain(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        used = way.certificate or "the system's own certificates"
        return ResourceError(
            f"The certificate of {way.words} is not trusted ({used}). Name those of your network in SSL_CERT_FILE."
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 407 or " 407 " in f" {text} " or "Proxy Authentication" in text:
        return ResourceError(
            f"The proxy {way.proxy} asks who you are. Write HTTPS_PROXY as http://user:password@host:port."
        )
    if type(error).__name__ == "ProxyError":
        return ResourceError(f"The proxy {way.proxy} did not lead to {way.endpoint} ({text[:120]}). Check HTTPS_PROXY.")
    if status == 401:
        return ModelError(f"The hub does not know the token that it was given. Log in again ({LOGIN}), or log out.")
    if status == 429:
        return ResourceError(f"The hub answers too many requests at once (429). Wait, or log in ({LOGIN}).")
    if status and status >= 500:
        return ResourceError(f"{way.words} answers with an error of its own ({status}) about {repository}. Try later.")
    if status:
        return ModelError(f"{way.words} refused {repository} ({text[:160]}). Check the name, or log in ({LOGIN}).")
    if "SOCKS" in text:
        return ResourceError(
            f"The proxy {way.proxy} speaks SOCKS, for which a package is missing: pip install socksio."
        )
    return ResourceError(
        f"The download of {repository} from {way.words} broke off ({type(error).__name__}). Try again: it goes on "
        "where it stopped."
    )


def _chain(error: BaseException | None) -> str:
    """The error and what it came from, on one line, without passwords."""
    told = list[str]()
    while error is not None and len(told) < 5:
        told.append(str(error))
        error = error.__cause__ or error.__context__
    return without_credentials(" ".join(" ".join(told).split()))
