#pragma once

#include <string>

#include "absl/strings/string_view.h"

struct evp_md_ctx_st;

namespace backup::crypto {

inline constexpr size_t kSha256Size = 32;

// SHA-256 as bytes pass. Used by one thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(absl::string_view piece);
  // Call once, at the end: 32 bytes.
  std::string Finish();

 private:
  evp_md_ctx_st* const context_;
};

}  // namespace backup::crypto
