"""botocore's exceptions as the one line and the hint that people get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hubdeploy.aws.hints import hint_for
from hubdeploy.errors import AwsError

_SIGN_IN = "sign in again (aws sso login, or aws login), then run again"
_NETWORK = "check the network, a proxy (HTTPS_PROXY) and the region's name; then run again"


@contextmanager
def translated(service: str, operation: str) -> Iterator[None]:
    """Turn botocore's exceptions into :class:`AwsError` with AWS's code, one line and a hint."""
    import botocore.exceptions as boto

    def refused(message: object, hint: str, code: str = "") -> AwsError:
        line = " ".join(str(message).split())
        return AwsError(line, hint=hint, code=code, operation=operation)

    try:
        yield
    except boto.ClientError as error:
        details = error.response.get("Error", {})
        code = str(details.get("Code", ""))
        text = " ".join(str(details.get("Message", "")).split())
        raise refused(
            f"{service} {operation}: {text or code} ({code})",
            hint_for(code, operation, text),
            code,
        ) from error
    except boto.NoCredentialsError as error:
        raise refused(
            "no AWS credentials found",
            "set AWS_PROFILE or run `aws configure`, or rehearse without any: --sandbox",
            "NoCredentials",
        ) from error
    except boto.PartialCredentialsError as error:
        raise refused(error, "set the key and its secret together", "PartialCredentials") from error
    except boto.ProfileNotFound as error:
        raise refused(error, "list them: aws configure list-profiles") from error
    except (boto.TokenRetrievalError, boto.SSOError, boto.LoginError) as error:
        text = "the AWS sign-in has expired or cannot be used"
        raise refused(f"{text}: {error}", _SIGN_IN) from error
    except (boto.CredentialRetrievalError, boto.MetadataRetrievalError) as error:
        raise refused(
            f"the AWS credentials cannot be had: {error}",
            "what the profile names (credential_process, role, web identity) has to work by itself",
        ) from error
    except boto.RefreshWithMFAUnsupportedError as error:
        raise refused(
            "the profile's role asks for an MFA code, and its session is over",
            "get a new session (aws sts assume-role with --token-code), then run again",
        ) from error
    except (boto.InvalidConfigError, boto.ConfigParseError, boto.ConfigNotFound) as error:
        raise refused(error, "mend ~/.aws/config, or use another --profile") from error
    except (boto.NoRegionError, boto.InvalidRegionError, boto.UnknownRegionError) as error:
        raise refused(error, "check `region` in hubdeploy.toml") from error
    except boto.SSLError as error:
        raise refused(
            f"no trusted connection to AWS for {service} {operation}: {error}",
            "a proxy that looks inside needs its certificate in AWS_CA_BUNDLE; check the clock too",
            "SSL",
        ) from error
    except boto.ProxyConnectionError as error:
        raise refused(error, "check HTTPS_PROXY, or set NO_PROXY", "ProxyConnection") from error
    except boto.ConnectTimeoutError as error:
        text = f"AWS does not answer for {service} {operation}: {error}"
        raise refused(text, _NETWORK, "ConnectTimeout") from error
    except (boto.ReadTimeoutError, boto.ConnectionClosedError) as error:
        raise refused(
            f"AWS did not answer {service} {operation} to the end: {error}",
            "run the same command again: it goes on from where things are",
            "NoAnswer",
        ) from error
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        text = f"cannot reach AWS for {service} {operation}: {error}"
        raise refused(text, _NETWORK, "EndpointConnection") from error
    except boto.BotoCoreError as error:
        text = f"{service} {operation}: {error}"
        raise refused(text, "--debug shows the whole call") from error
