#!/bin/sh
# Prints the version of the system's OpenSSL if its headers are installed and librdkafka can use it (1.1.1
# or later); else nothing. It never fails.

if command -v pkg-config >/dev/null; then
    pkg-config --atleast-version=1.1.1 openssl 2>/dev/null && pkg-config --modversion openssl
    exit 0
fi
# Without pkg-config: what the compiler finds. LibreSSL and BoringSSL have another name for the version.
printf '#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_NUMBER < 0x10101000L || defined(LIBRESSL_VERSION_NUMBER)\n#error\n#endif\n' |
    ${CC:-cc} -E - >/dev/null 2>&1 && echo found
exit 0
