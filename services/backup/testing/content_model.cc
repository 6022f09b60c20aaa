#include "services/backup/testing/content_model.h"

#include <algorithm>
#include <cstring>

#include "glog/logging.h"

namespace backup::testing {
namespace {

constexpr uint64_t kLargeBlocks = 10;
constexpr uint64_t kMediumBlocks = 20;
constexpr uint64_t kSmallBlocks = 40;

// SplitMix64: fast enough to make gigabytes.
uint64_t NextNumber(uint64_t& state) {
  uint64_t number = (state += 0x9E3779B97F4A7C15);
  number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9;
  number = (number ^ (number >> 27)) * 0x94D049BB133111EB;
  return number ^ (number >> 31);
}

void AppendPiece(const ModelPiece& piece, std::string& bytes) {
  // Few different numbers shrink.
  constexpr uint64_t kFew = 0x0707070707070707;
  const size_t begin = bytes.size();
  bytes.resize(begin + static_cast<size_t>(piece.size_bytes));
  uint64_t state = piece.seed;
  for (size_t at = begin; at < bytes.size(); at += sizeof(uint64_t)) {
    const uint64_t number = NextNumber(state) & (piece.shrinks ? kFew : ~uint64_t{0});
    std::memcpy(bytes.data() + at, &number, std::min(sizeof(number), bytes.size() - at));
  }
}

// One of a few blocks between two sizes: the seed decides its size, too.
ModelPiece Block(uint32_t seed, int32_t least, int32_t most) {
  uint64_t state = uint64_t{seed} << 32;
  const auto range = static_cast<uint64_t>(most - least + 1);
  return {seed, least + static_cast<int32_t>(NextNumber(state) % range), seed % 3 == 0};
}

ModelPiece LargeBlock(std::mt19937_64& random) {
  return Block(static_cast<uint32_t>(1000 + random() % kLargeBlocks), 300'000, 900'000);
}
ModelPiece MediumBlock(std::mt19937_64& random) {
  return Block(static_cast<uint32_t>(2000 + random() % kMediumBlocks), 5'000, 200'000);
}
ModelPiece SmallBlock(std::mt19937_64& random) {
  return Block(static_cast<uint32_t>(3000 + random() % kSmallBlocks), 0, 3'000);
}

}  // namespace

int64_t ModelContent::size_bytes() const {
  int64_t size = 0;
  for (int i = 0; i < piece_count; ++i) size += pieces[static_cast<size_t>(i)].size_bytes;
  return size;
}

std::string ModelContent::Make() const {
  std::string bytes;
  for (int i = 0; i < piece_count; ++i) AppendPiece(pieces[static_cast<size_t>(i)], bytes);
  return bytes;
}

ModelContent RandomContent(std::mt19937_64& random) {
  ModelContent content;
  const auto add = [&](const ModelPiece& piece) {
    content.pieces[static_cast<size_t>(content.piece_count++)] = piece;
  };
  const uint64_t kind = random() % 100;
  if (kind < 55) {
    add(SmallBlock(random));
  } else if (kind < 85) {
    add(MediumBlock(random));
  } else {
    if (random() % 2 == 0) add(SmallBlock(random));  // Moves all that follows.
    for (uint64_t blocks = 1 + random() % 4; blocks > 0; --blocks) add(LargeBlock(random));
  }
  // Now and then something that never was.
  if (random() % 4 == 0 && content.piece_count < ModelContent::kMaxPieces)
    add({static_cast<uint32_t>(random()), static_cast<int32_t>(random() % 2000),
         random() % 2 == 0});
  return content;
}

void ModelFile::Remove(int64_t version_id) {
  const auto begin = versions.begin();
  const auto end = begin + version_count;
  version_count = static_cast<int>(std::remove_if(begin, end,
                                                  [&](const ModelVersion& version) {
                                                    return version.version_id == version_id;
                                                  }) -
                                   begin);
}

void ModelFile::Trash(int64_t version_id) {
  if (trash_count == kMaxTrash) {
    std::copy(trash.begin() + 1, trash.end(), trash.begin());
    --trash_count;
  }
  trash[static_cast<size_t>(trash_count++)] = *Find(version_id);
  Remove(version_id);
}

void ModelFile::Undelete(int64_t version_id) {
  const auto end = trash.begin() + trash_count;
  const auto found = std::find_if(trash.begin(), end, [&](const ModelVersion& version) {
    return version.version_id == version_id;
  });
  if (found == end) return;
  Add(*found);
  versions[static_cast<size_t>(version_count - 1)].was_damaged = true;  // It may have been.
  std::sort(
      versions.begin(), versions.begin() + version_count,
      [](const ModelVersion& a, const ModelVersion& b) { return a.version_id < b.version_id; });
  std::copy(found + 1, end, found);
  --trash_count;
}

ModelVersion* ModelFile::Find(int64_t version_id) {
  for (int i = 0; i < version_count; ++i) {
    ModelVersion& version = versions[static_cast<size_t>(i)];
    if (version.version_id == version_id) return &version;
  }
  return nullptr;
}

std::string ModelText::Get() const {
  return {chars.begin(), std::find(chars.begin(), chars.end(), '\0')};
}

bool Model::IsDamaged(absl::string_view chunk_id) const {
  return std::any_of(damaged.begin(), damaged.begin() + damaged_count, [&](const auto& id) {
    return absl::string_view(id.data(), id.size()) == chunk_id;
  });
}

void Model::SetDamaged(absl::string_view chunk_id, bool is_damaged) {
  const auto end = damaged.begin() + damaged_count;
  const auto found = std::find_if(damaged.begin(), end, [&](const auto& id) {
    return absl::string_view(id.data(), id.size()) == chunk_id;
  });
  if (is_damaged && found == end) {
    CHECK_LT(damaged_count, kMaxDamaged);
    chunk_id.copy(damaged[static_cast<size_t>(damaged_count++)].data(), kChunkIdSize);
  } else if (!is_damaged && found != end) {
    *found = damaged[static_cast<size_t>(--damaged_count)];
  }
}

}  // namespace backup::testing
