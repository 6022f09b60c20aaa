#pragma once

#include <string>

#include "absl/strings/string_view.h"

struct evp_pkey_st;

namespace backup::testing {

// The client's side of the key exchange, with a fresh RSA-1024 key. Used by one thread at a time.
class LegacyPeer {
 public:
  LegacyPeer();
  ~LegacyPeer();
  LegacyPeer(const LegacyPeer&) = delete;
  LegacyPeer& operator=(const LegacyPeer&) = delete;

  // X.509 SubjectPublicKeyInfo, DER.
  std::string PublicKey() const;
  // RSAES-OAEP with SHA-1; empty if it cannot be decrypted.
  std::string DecryptSessionKey(absl::string_view encrypted) const;
  // The same of RSAES-PKCS1-v1_5.
  std::string DecryptPkcs1SessionKey(absl::string_view encrypted) const;

 private:
  std::string Decrypt(absl::string_view encrypted, int padding) const;

  evp_pkey_st* const key_;
};

// AES-CBC with a zero IV and PKCS#7 padding.
std::string EncryptAsClient(absl::string_view session_key, absl::string_view plain);
// How other clients do it.
struct ClientCipher {
  std::string vector = {};  // The IV, 16 bytes, which is put in front; if empty it is zero.
  bool pkcs7 = true;        // Else it is filled up with zero bytes.
};
std::string EncryptAsClient(absl::string_view session_key, absl::string_view plain,
                            const ClientCipher& how);

}  // namespace backup::testing
