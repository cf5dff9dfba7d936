"""TLS contexts, as far as their certificates are files."""

from __future__ import annotations

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.envoy.anything import typed
from anywasm.plugins.config.target import Target

_IGNORED = ("tls_params", "alpn_protocols", "key_log", "custom_handshaker")


def downstream(owner: Block, target: Target) -> None:
    """Translate the `transport_socket` of a filter chain."""
    context = _context(owner, "DownstreamTlsContext")
    if context is None:
        return
    own = target.below("tls", context.path)
    common = context.block("common_tls_context")
    certificates = common.blocks("tls_certificates")
    if len(certificates) != 1:
        common.problem("tls_certificates", "must be one certificate, in files")
    for certificate in certificates[:1]:
        _file(certificate, "certificate_chain", own, "cert_file")
        _file(certificate, "private_key", own, "key_file")
        certificate.ignore("ocsp_staple", "password")
        certificate.close()
    required = context.switch("require_client_certificate")
    validation = common.block("validation_context")
    if "trusted_ca" in validation:
        if required:
            _file(validation, "trusted_ca", own, "client_ca_file")
        else:
            common.notice("validation_context", "no client certificate is asked for")
    elif required:
        context.problem(
            "require_client_certificate", "needs common_tls_context.validation_context.trusted_ca"
        )
    validation.skip("trusted_ca")
    validation.close()
    common.ignore(*_IGNORED)
    common.close()
    context.ignore("session_timeout", "disable_stateless_session_resumption", "ocsp_staple_policy")
    context.close()


def upstream(owner: Block, target: Target) -> None:
    """Translate the `transport_socket` of a cluster."""
    context = _context(owner, "UpstreamTlsContext")
    if context is None:
        return
    own = target.below("tls", context.path)
    own.set("sni", context.text("sni") or None, context.place("sni"))
    common = context.block("common_tls_context")
    validation = common.block("validation_context")
    if "trusted_ca" in validation:
        _file(validation, "trusted_ca", own, "ca_file")
    elif "system_root_certs" not in validation:
        own.set("insecure", True, context.path)
        context.translation.notice(
            context.path,
            "without validation_context.trusted_ca certificates are not verified, as in Envoy",
        )
    validation.skip("system_root_certs")
    validation.ignore("match_typed_subject_alt_names")
    validation.close()
    common.ignore(*_IGNORED)
    common.close()
    context.ignore(
        "allow_renegotiation", "max_session_keys", "auto_host_sni", "auto_sni_san_validation"
    )
    context.close()


def _context(owner: Block, expected: str) -> Block | None:
    if "transport_socket" not in owner:
        owner.skip("transport_socket")
        return None
    socket = owner.block("transport_socket")
    socket.skip("name")
    kind, context = typed(socket, "typed_config")
    socket.close()
    if kind == expected:
        return context
    if kind != "RawBuffer":
        owner.problem("transport_socket", f"must be {expected}, or be left out")
    return None


def _file(block: Block, name: str, target: Target, key: str) -> None:
    source = block.block(name)
    target.set(key, source.value("filename"), source.place("filename"))
    if "filename" not in source:
        block.problem(name, "must be a file: {filename: PATH}")
    source.skip("inline_string", "inline_bytes", "environment_variable", "watched_directory")
    source.close()
