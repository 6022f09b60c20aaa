#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>

#include "absl/strings/string_view.h"

// What a store must hold, as plain values of a fixed size: they live in memory that processes
// share, so that a process that ends at any instruction leaves behind what it was told is stored.
namespace backup::testing {

// Told by how it is made, so that nobody has to remember it.
struct ModelPiece {
  uint32_t seed = 0;
  int32_t size_bytes = 0;
  bool shrinks = false;
};

// Pieces one after the other.
struct ModelContent {
  static constexpr int kMaxPieces = 6;

  int piece_count = 0;
  std::array<ModelPiece, kMaxPieces> pieces = {};

  int64_t size_bytes() const;
  std::string Make() const;
};

// Content of any size, most of which was there before, whole or in part.
ModelContent RandomContent(std::mt19937_64& random);

enum class ModelState { kReceived, kVerified, kAbandoned };

struct ModelVersion {
  int64_t version_id = 0;
  ModelState state = ModelState::kReceived;
  ModelContent content;
  bool is_told = false;      // Packs told of it; they are to do so as long as it is there,
  bool was_damaged = false;  // unless this.
};

struct ModelFile {
  static constexpr int kMaxVersions = 5;

  int version_count = 0;
  std::array<ModelVersion, kMaxVersions> versions = {};  // Oldest first.
  // The last ones that went into the trash; what it had before may be there, too.
  static constexpr int kMaxTrash = 3;
  int trash_count = 0;
  std::array<ModelVersion, kMaxTrash> trash = {};

  void Add(const ModelVersion& version) {
    versions[static_cast<size_t>(version_count++)] = version;
  }
  void Remove(int64_t version_id);
  ModelVersion* Find(int64_t version_id);
  // Into the trash, and back from there.
  void Trash(int64_t version_id);
  void Undelete(int64_t version_id);
};

// Text of a fixed size at most; what is copied stays a plain value.
struct ModelText {
  std::array<char, 40> chars = {};

  void Set(absl::string_view text) {
    chars = {};
    text.copy(chars.data(), chars.size());
  }
  std::string Get() const;
};

struct ModelClient {
  static constexpr int kFiles = 6;

  ModelText id;  // Empty: it is not there.
  std::array<ModelFile, kFiles> files = {};
};

// A call that was begun and whose end nobody has seen.
struct ModelCall {
  enum class Kind { kNone, kUpload, kVerdict, kDeleteVersion, kUndelete, kPurge, kDeleteClient };

  Kind kind = Kind::kNone;
  int client = 0;
  int file = 0;
  int64_t version_id = 0;
  ModelText upload_id;
  ModelContent content;
};

struct Model {
  static constexpr int kClients = 4;
  static constexpr int kMaxCalls = kClients;  // At once: one a client.
  static constexpr int kMaxDamaged = 64;
  static constexpr int kChunkIdSize = 32;

  std::array<ModelClient, kClients> clients = {};
  std::array<ModelCall, kMaxCalls> calls = {};
  // Chunks whose bytes were changed on the disk and that were not stored again since.
  int damaged_count = 0;
  std::array<std::array<char, kChunkIdSize>, kMaxDamaged> damaged = {};
  int64_t steps = 0;
  int64_t uploads = 0;
  int64_t reads = 0;
  int64_t healed = 0;

  bool IsDamaged(absl::string_view chunk_id) const;
  void SetDamaged(absl::string_view chunk_id, bool is_damaged);
};

}  // namespace backup::testing
