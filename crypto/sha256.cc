#include "crypto/sha256.h"

#include <endian.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "crypto/algorithms.h"
#include "glog/logging.h"

namespace backup::crypto {

Sha256::Sha256(Engine engine) {
  if (engine == Engine::kLanes) return;
  context_ = EVP_MD_CTX_new();
  CHECK_EQ(EVP_DigestInit_ex(context_, Sha256Digest(), nullptr), 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

Sha256::Sha256(const Sha256& other) { *this = other; }

Sha256& Sha256::operator=(const Sha256& other) {
  if (this == &other) return *this;
  if (other.context_ == nullptr) {
    EVP_MD_CTX_free(context_);
    context_ = nullptr;
  } else {
    if (context_ == nullptr) context_ = EVP_MD_CTX_new();
    CHECK_EQ(EVP_MD_CTX_copy_ex(context_, other.context_), 1);
  }
  state_ = other.state_;
  size_ = other.size_;
  pending_ = other.pending_;
  return *this;
}

void Sha256::Update(absl::string_view piece) {
  if (context_ != nullptr) {
    CHECK_EQ(EVP_DigestUpdate(context_, piece.data(), piece.size()), 1);
    return;
  }
  TakeRest(FillPending(piece));
}

void Sha256::UpdateBoth(Sha256& first, absl::string_view first_piece, Sha256& second,
                        absl::string_view second_piece) {
  if (first.context_ != nullptr || second.context_ != nullptr) {
    first.Update(first_piece);
    second.Update(second_piece);
    return;
  }
  absl::string_view first_rest = first.FillPending(first_piece);
  absl::string_view second_rest = second.FillPending(second_piece);
  const size_t count = std::min(first_rest.size(), second_rest.size()) / kSha256BlockSize;
  CompressSha256(first.state_, first_rest.data(), second.state_, second_rest.data(), count);
  for (Sha256* hash : {&first, &second}) hash->size_ += count * kSha256BlockSize;
  first.TakeRest(first_rest.substr(count * kSha256BlockSize));
  second.TakeRest(second_rest.substr(count * kSha256BlockSize));
}

absl::string_view Sha256::FillPending(absl::string_view piece) {
  const size_t pending = size_ % kSha256BlockSize;
  if (pending == 0) return piece;
  const size_t taken = std::min(piece.size(), kSha256BlockSize - pending);
  std::copy_n(piece.data(), taken, pending_.data() + pending);
  size_ += taken;
  if (size_ % kSha256BlockSize == 0) CompressSha256(state_, pending_.data(), 1);
  return piece.substr(taken);
}

void Sha256::TakeRest(absl::string_view piece) {
  if (piece.empty()) return;
  const size_t whole = piece.size() / kSha256BlockSize;
  CompressSha256(state_, piece.data(), whole);
  const absl::string_view rest = piece.substr(whole * kSha256BlockSize);
  std::copy(rest.begin(), rest.end(), pending_.begin());
  size_ += piece.size();
}

std::string Sha256::Finish() {
  std::string digest(kSha256Size, '\0');
  if (context_ != nullptr) {
    auto* const out = reinterpret_cast<unsigned char*>(digest.data());
    CHECK_EQ(EVP_DigestFinal_ex(context_, out, nullptr), 1);
    return digest;
  }
  // One bit, zeros up to the end of a block, and there the size in bits.
  const uint64_t bits = htobe64(size_ * 8);
  std::array<char, 2 * kSha256BlockSize> end = {};
  const size_t pending = size_ % kSha256BlockSize;
  std::copy_n(pending_.data(), pending, end.data());
  end[pending] = '\x80';
  const size_t blocks = pending + 1 + sizeof(bits) > kSha256BlockSize ? 2 : 1;
  std::memcpy(end.data() + blocks * kSha256BlockSize - sizeof(bits), &bits, sizeof(bits));
  CompressSha256(state_, end.data(), blocks);
  for (uint32_t& word : state_) word = htobe32(word);
  std::memcpy(digest.data(), state_.data(), digest.size());
  return digest;
}

}  // namespace backup::crypto
