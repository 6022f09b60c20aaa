#include "services/backup/jobs/train.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>

#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "content/chunk_decoding.h"
#include "content/compression.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using content::Dictionary;
using storage::StoredChunk;

// What a sample takes of memory, and how many contents are read for it; it may end with one content
// more. With less than so many bytes it is all that training can use.
constexpr int64_t kMaxSampleBytes = 8 << 20;
constexpr int64_t kMaxDraws = 8192;
static_assert(kMaxSampleBytes <= static_cast<int64_t>(content::kMaxTrainingBytes));
// One content of so many is not trained with, but compressed to see what that brought.
constexpr int64_t kHeldOutEvery = 4;
// A dictionary makes what it was not trained with smaller by at least a twentieth,
constexpr int64_t kMinGain = 20;
// and there are so many times the contents that there were when the last one was trained.
constexpr int64_t kMinGrowth = 2;

// Numbers of which one after the other is drawn at random, none twice. A number without a content
// stands for the next one that has one; so a range without any, such as that of a large file's
// chunks, is left out soon.
class Lots {
 public:
  // Those from 1 to `last`.
  explicit Lots(int64_t last) : ranges_{{1, last}}, left_(last) {}

  bool empty() const { return left_ == 0; }
  int64_t Draw(std::mt19937_64& random) {
    int64_t nth = std::uniform_int_distribution<int64_t>(0, left_ - 1)(random);
    drawn_ = 0;
    while (nth >= ranges_[drawn_].size()) nth -= ranges_[drawn_++].size();
    return ranges_[drawn_].first + nth;
  }
  // Of what was drawn: takes it out, and what follows it up to and with `last`. Returns whether
  // `last` had not been taken out before.
  bool TakeOut(int64_t drawn, int64_t last) {
    Range& range = ranges_[drawn_];
    const bool is_new = last <= range.last;
    const Range rest{std::min(last, range.last) + 1, range.last};
    range.last = drawn - 1;
    left_ -= rest.first - drawn;
    if (rest.size() > 0 && range.size() > 0) {
      ranges_.push_back(rest);
    } else if (rest.size() > 0) {
      range = rest;
    }
    return is_new;
  }

 private:
  struct Range {
    int64_t first = 0;
    int64_t last = 0;
    int64_t size() const { return last - first + 1; }
  };

  std::vector<Range> ranges_;
  size_t drawn_ = 0;  // The range of the last one.
  int64_t left_;
};

// What contents take where they are kept, without their seals.
int64_t KeptSize(const std::vector<std::string>& contents, int level,
                 const Dictionary* dictionary) {
  int64_t size = 0;
  for (const std::string& content : contents) {
    const absl::string_view bytes = content;
    const std::optional<std::string> frame = content::Compress({&bytes, 1}, level, dictionary);
    size += frame ? std::ssize(*frame) : std::ssize(content);
  }
  return size;
}

}  // namespace

absl::StatusOr<Job::Progress> Train::Step(const std::string& /*cursor*/, int64_t /*budget*/,
                                          const std::stop_token& token) {
  BecomeLowPriority();
  Progress progress;
  progress.is_done = true;
  ASSIGN_OR_RETURN(const std::optional<uint32_t> id, dictionaries_.Refresh(options_.level));
  if (!id) return progress;
  ASSIGN_OR_RETURN(const int64_t last_chunk, catalog_.Read([](storage::Snapshot& snapshot) {
    return snapshot.LastInlineChunk();
  }));
  const content::Dictionaries::Newest newest = dictionaries_.NewestOf(options_.form);
  if (last_chunk < kMinGrowth * std::max(newest.last_chunk, tried_up_to_)) return progress;
  ASSIGN_OR_RETURN(const Sample sample, TakeSample(last_chunk, token));
  if (token.stop_requested() || sample.count() < options_.min_contents) return progress;

  std::optional<std::string> bytes = content::TrainDictionary(sample.training, *id);
  bool pays = false;
  if (bytes) {
    ASSIGN_OR_RETURN(pays, Pays(*bytes, sample, newest.dictionary.get()));
  }
  if (!pays) {
    tried_up_to_ = last_chunk;
    return progress;
  }
  ASSIGN_OR_RETURN(const bool is_kept, Keep(*id, last_chunk, *std::move(bytes)));
  progress.count = is_kept ? 1 : 0;
  return progress;
}

absl::StatusOr<Train::Sample> Train::TakeSample(int64_t last_chunk, const std::stop_token& token) {
  Sample sample;
  std::mt19937_64 random(std::random_device{}());
  Lots lots(last_chunk);
  for (int64_t i = 0; i < kMaxDraws && !lots.empty() && sample.size_bytes < kMaxSampleBytes; ++i) {
    if (token.stop_requested()) break;
    const int64_t drawn = lots.Draw(random);
    ASSIGN_OR_RETURN(const std::vector<StoredChunk> found,
                     catalog_.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListInlineChunks(drawn - 1, 1);
                     }));
    if (!lots.TakeOut(drawn, found.empty() ? last_chunk : found.front().number) || found.empty())
      continue;
    std::optional<std::string> content = ContentOf(found.front());
    if (!content) continue;
    sample.size_bytes += std::ssize(*content);
    const bool is_held_out = sample.count() % kHeldOutEvery == 0;
    (is_held_out ? sample.held_out : sample.training).push_back(*std::move(content));
  }
  return sample;
}

std::optional<std::string> Train::ContentOf(const StoredChunk& chunk) {
  if (chunk.form != options_.form || chunk.is_damaged) return std::nullopt;
  std::string scratch;
  const absl::StatusOr<absl::string_view> plain =
      content::OpenChunk(chunk, chunk.payload, /*pack_key=*/"", &keys_, scratch, &dictionaries_);
  // Whoever needs it will tell.
  if (!plain.ok()) return std::nullopt;
  return std::string(*plain);
}

absl::StatusOr<bool> Train::Pays(const std::string& bytes, const Sample& sample,
                                 const Dictionary* current) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Dictionary> dictionary,
                   Dictionary::Open(bytes, options_.level));
  const int64_t now = KeptSize(sample.held_out, options_.level, current);
  const int64_t then = KeptSize(sample.held_out, options_.level, dictionary.get());
  // There will be at least as many contents as were looked at: what that spares is more than it
  // takes itself.
  const bool pays =
      (now - then) * kMinGain >= now && (now - then) * kHeldOutEvery >= std::ssize(bytes);
  LOG(INFO) << "a dictionary that was trained with " << sample.training.size()
            << " small contents makes " << sample.held_out.size() << " others " << now - then
            << " bytes smaller, which take " << now << " now: it is "
            << (pays ? "kept" : "not worth it");
  return pays;
}

absl::StatusOr<bool> Train::Keep(uint32_t id, int64_t last_chunk, std::string bytes) {
  const std::string sealed =
      content::SealDictionary({options_.form, last_chunk, std::move(bytes)}, id, keys_);
  ASSIGN_OR_RETURN(const std::string kept, catalog_.Run([&](storage::Transaction& transaction) {
    return transaction.AddStoreValue(content::DictionaryName(id), sealed);
  }));
  RETURN_IF_ERROR(dictionaries_.Refresh(options_.level).status());
  return kept == sealed;
}

}  // namespace backup::jobs
