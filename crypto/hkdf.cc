#include "crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "absl/cleanup/cleanup.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

// Never freed: used until the process ends.
EVP_KDF* FetchHkdf() {
  EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  CHECK(kdf != nullptr) << "OpenSSL has no HKDF";
  return kdf;
}

OSSL_PARAM Octets(const char* name, absl::string_view bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
}

}  // namespace

std::string Hkdf(absl::string_view secret, absl::string_view info, size_t size) {
  static EVP_KDF* const kdf = FetchHkdf();
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                               Octets(OSSL_KDF_PARAM_KEY, secret),
                               Octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  EVP_KDF_CTX* const context = EVP_KDF_CTX_new(kdf);
  const absl::Cleanup free_context = [&] { EVP_KDF_CTX_free(context); };
  std::string derived(size, '\0');
  CHECK_EQ(EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(derived.data()), size, params),
           1);
  return derived;
}

}  // namespace backup::crypto
