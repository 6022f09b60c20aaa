#include "crypto/sha256.h"

#include <openssl/evp.h>

#include "crypto/algorithms.h"
#include "glog/logging.h"

namespace backup::crypto {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  CHECK_EQ(EVP_DigestInit_ex(context_, Sha256Digest(), nullptr), 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::Update(absl::string_view piece) {
  CHECK_EQ(EVP_DigestUpdate(context_, piece.data(), piece.size()), 1);
}

std::string Sha256::Finish() {
  std::string digest(kSha256Size, '\0');
  CHECK_EQ(EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), nullptr),
           1);
  return digest;
}

}  // namespace backup::crypto
