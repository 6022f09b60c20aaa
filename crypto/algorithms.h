#pragma once

struct evp_cipher_st;
struct evp_md_st;

namespace backup::crypto {

// OpenSSL's algorithms, fetched from their provider once: the constants of the same purpose, such
// as EVP_sha256(), are looked up again, behind a lock, each time they are used. Thread-safe.
const evp_cipher_st* Aes128Cbc();
const evp_cipher_st* Aes256Cbc();
const evp_cipher_st* Aes256Gcm();
const evp_md_st* Sha256Digest();

}  // namespace backup::crypto
