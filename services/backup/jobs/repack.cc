#include "services/backup/jobs/repack.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/mutex.h"
#include "base/periodic_task.h"
#include "base/read_ahead_source.h"
#include "base/start_thread.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/pack_builder.h"
#include "content/pack_footer.h"
#include "services/backup/handlers/pending_blob.h"
#include "services/backup/jobs/rewritten_pack.h"

namespace backup::jobs {
namespace {

using storage::PackInfo;
using storage::StoredChunk;
using storage::Transaction;

// A pack of this size is not worth making it larger.
constexpr int64_t kSmallPack = content::kMaxPackSize / 4;
// Small packs are merged once they make one so many times as large as the largest of them.
constexpr int64_t kGrowth = 4;
constexpr int64_t kFewChunks = Transaction::kMaxRewrittenChunks / kGrowth;
static_assert(kFewChunks <= storage::Snapshot::kManyChunks);
// Of so many of these one pack can have the footers' parts.
constexpr int64_t kSmallFooter = storage::Snapshot::kLargeFooter;
static_assert(kGrowth * kSmallFooter < content::kMaxPackFooterSize);
static_assert(kGrowth * kSmallFooter / (ChunkId::kSize + 4) < int64_t{content::kMaxFooterSteps});
// What footers and padding may take of a pack, which is not worth rewriting it for.
constexpr int64_t kNegligible = 64 << 10;
// Packs that are looked at at once, and of those that are condemned and have something alive, for
// which there must be room: so many, and as many more while others of them are rewritten.
constexpr int kListed = 1024;
constexpr size_t kMaxCondemned = 64;
// Chunks of packs that one transaction condemns, so that others need not wait for it for long.
constexpr int64_t kMaxCondemnedChunks = 2048;
constexpr int kPage = 256;
constexpr absl::Duration kPollInterval = absl::Seconds(1);

// Of a pack of so many chunks that take `stored_bytes` together, with the parts of its footer.
int64_t LargestSize(size_t chunks, int64_t stored_bytes) {
  return stored_bytes + content::PackBuilder::LargestFooterSize(chunks, /*steps=*/0);
}

bool PaysAlone(const PackInfo& pack) {
  const int64_t size_bytes = pack.size_bytes - pack.footer_bytes;
  const int64_t garbage = size_bytes - pack.live_bytes;
  return pack.live_bytes == 0 || pack.waiting_bytes > 0 ||
         (3 * pack.live_bytes < 2 * size_bytes && garbage > kNegligible);
}

// Of small packs of one form.
std::vector<PackInfo> ChooseSmall(std::vector<PackInfo> packs) {
  std::sort(packs.begin(), packs.end(),
            [](const PackInfo& a, const PackInfo& b) { return a.live_bytes < b.live_bytes; });
  size_t chosen = 0;
  int64_t total = 0;
  for (size_t i = 0; i < packs.size(); ++i) {
    total += packs[i].live_bytes;
    if (i > 0 && total >= std::min(kGrowth * packs[i].live_bytes, kSmallPack)) chosen = i + 1;
  }
  packs.resize(chosen);
  return packs;
}

}  // namespace

// On a thread of its own, or, if the system has no room for one, when it is made. Used by one
// thread at a time.
class Repack::Carrying {
 public:
  Carrying(Repack& repack, Plan plan, const std::stop_token& token)
      : repack_(repack), plan_(std::move(plan)), token_(token) {
    if (std::optional<std::thread> thread = TryStartThread([this] { Run(); })) {
      thread_ = *std::move(thread);
    } else {
      Run();
    }
  }
  ~Carrying() { Join(); }
  Carrying(const Carrying&) = delete;
  Carrying& operator=(const Carrying&) = delete;

  const Plan& plan() const { return plan_; }
  // From then on the next plan may read.
  void WaitUntilAllIsRead() {
    MutexLock lock(mutex_);
    while (!all_is_read_) changed_.Wait(mutex_);
  }
  // How many packs are gone.
  absl::StatusOr<int64_t> WaitForEnd() {
    Join();
    return gone_;
  }

 private:
  void Run() {
    BecomeLowPriority();
    gone_ = repack_.Carry(plan_, token_, [this] { AllIsRead(); });
    AllIsRead();
  }
  void AllIsRead() {
    MutexLock lock(mutex_);
    all_is_read_ = true;
    changed_.NotifyAll();
  }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  Repack& repack_;
  const Plan plan_;
  const std::stop_token& token_;
  Mutex mutex_;
  CondVar changed_;
  bool all_is_read_ ABSL_GUARDED_BY(mutex_) = false;
  absl::StatusOr<int64_t> gone_ = 0;  // Once it has ended.
  std::thread thread_;
};

std::vector<PackInfo> ChooseToRewrite(const std::vector<PackInfo>& packs) {
  std::vector<PackInfo> chosen;
  std::vector<PackInfo> small_plain;
  std::vector<PackInfo> small_sealed;
  for (const PackInfo& pack : packs) {
    if (PaysAlone(pack)) {
      chosen.push_back(pack);
    } else if (pack.size_bytes < kSmallPack && pack.chunk_count < kFewChunks &&
               pack.footer_bytes < kSmallFooter) {
      (pack.form == storage::StorageForm::kSealed ? small_sealed : small_plain).push_back(pack);
    }
  }
  for (std::vector<PackInfo>* small : {&small_plain, &small_sealed}) {
    const std::vector<PackInfo> few = ChooseSmall(std::move(*small));
    chosen.insert(chosen.end(), few.begin(), few.end());
  }
  return chosen;
}

absl::StatusOr<Job::Progress> Repack::Step(const std::string& /*cursor*/, int64_t /*budget*/,
                                           const std::stop_token& token) {
  BecomeLowPriority();
  const crypto::KeyRing::Use use(resources_.master_key);
  if (options_.required != nullptr) options_.required->NoteStep();
  absl::StatusOr<Progress> progress = DoStep(token);
  if (progress.ok() && !progress->is_done) return progress;
  if (options_.required != nullptr) {
    RequiredPacks::Run run{{}, failed_, progress.status()};
    for (const auto& [pack, live_bytes] : tried_) run.tried.insert(pack);
    options_.required->NoteEnd(std::move(run));
  }
  tried_.clear();
  failed_.clear();
  alone_.clear();
  const absl::Status failure = std::exchange(failure_, absl::OkStatus());
  if (progress.ok() && !failure.ok()) return failure;
  return progress;
}

absl::StatusOr<Job::Progress> Repack::DoStep(const std::stop_token& token) {
  Progress progress;
  ASSIGN_OR_RETURN(Backlog backlog, Look());
  const std::vector<PackInfo> chosen = ChooseToCondemn(backlog);
  if (!backlog.ready.empty()) {
    ASSIGN_OR_RETURN(progress.count, CarryAll(std::move(backlog.ready), chosen, token));
    return progress;
  }
  if (!chosen.empty()) {
    RETURN_IF_ERROR(Condemn(chosen));
    return progress;
  }
  ASSIGN_OR_RETURN(const bool goes_on, WaitForUploads(backlog.condemned, token));
  progress.is_done = !goes_on;
  return progress;
}

absl::StatusOr<int64_t> Repack::CarryAll(std::vector<PackInfo> ready,
                                         const std::vector<PackInfo>& to_condemn,
                                         const std::stop_token& token) {
  int64_t gone = 0;
  std::unique_ptr<Carrying> last;
  ASSIGN_OR_RETURN(std::optional<Plan> plan, NextPlan(ready));
  bool is_condemned = false;
  while (plan && !token.stop_requested()) {
    auto next = std::make_unique<Carrying>(*this, *std::move(plan), token);
    // What comes then is made ready meanwhile, so that the disk does not wait for it.
    if (!std::exchange(is_condemned, true)) RETURN_IF_ERROR(Condemn(to_condemn));
    ASSIGN_OR_RETURN(plan, NextPlan(ready));
    next->WaitUntilAllIsRead();
    ASSIGN_OR_RETURN(const int64_t settled, Settle(std::exchange(last, std::move(next)), token));
    gone += settled;
  }
  ASSIGN_OR_RETURN(const int64_t settled, Settle(std::move(last), token));
  return gone + settled;
}

absl::StatusOr<int64_t> Repack::Settle(std::unique_ptr<Carrying> carrying,
                                       const std::stop_token& token) {
  if (carrying == nullptr) return 0;
  absl::StatusOr<int64_t> gone = carrying->WaitForEnd();
  if (gone.ok()) return gone;
  if (token.stop_requested()) return 0;
  if (carrying->plan().chunks.empty()) return gone.status();
  const std::vector<int64_t>& sources = carrying->plan().sources;
  // One that cannot be read is no reason for the others to stay.
  if (sources.size() > 1 && ReasonOf(gone.status()) == Reason::kStorageIo) {
    alone_.insert(sources.begin(), sources.end());
    std::erase_if(tried_, [&](const auto& each) {
      return std::count(sources.begin(), sources.end(), each.first) > 0;
    });
    return 0;
  }
  for (const int64_t source : sources) failed_.emplace(source, gone.status());
  failure_.Update(gone.status());
  return 0;
}

absl::StatusOr<Repack::Backlog> Repack::Look() {
  Backlog backlog;
  std::vector<PackInfo> required;
  std::vector<PackInfo> listed;
  RETURN_IF_ERROR(resources_.catalog.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(required, ListRequired(snapshot));
    // Condemned ones come first.
    ASSIGN_OR_RETURN(listed,
                     snapshot.ListPacksToRewrite(options_.only_required ? 0 : kSmallPack, kListed));
    ASSIGN_OR_RETURN(backlog.oldest_epoch, snapshot.OldestEpoch());
    return absl::OkStatus();
  }));
  std::set<int64_t> is_required;
  for (const PackInfo& pack : required) is_required.insert(pack.pack);
  std::erase_if(listed, [&](const PackInfo& pack) {
    return is_required.contains(pack.pack) || (options_.only_required && pack.condemned_epoch == 0);
  });
  listed.insert(listed.begin(), required.begin(), required.end());
  for (PackInfo& pack : listed) {
    const bool must_go = is_required.contains(pack.pack);
    // Nor does it take the room of those that can.
    if (pack.live_bytes > 0 && !CanRewrite(pack, must_go)) continue;
    if (pack.condemned_epoch > 0 && pack.live_bytes > 0) ++backlog.live;
    if (pack.condemned_epoch == 0) {
      (must_go ? backlog.required : backlog.others).push_back(std::move(pack));
    } else if (pack.condemned_epoch <= backlog.oldest_epoch) {
      if (must_go) tried_.emplace(pack.pack, pack.live_bytes);
      backlog.ready.push_back(std::move(pack));
    } else {
      backlog.condemned.push_back(std::move(pack));
    }
  }
  return backlog;
}

absl::StatusOr<std::vector<PackInfo>> Repack::ListRequired(storage::Snapshot& snapshot) {
  std::vector<PackInfo> required;
  if (options_.required == nullptr) return required;
  for (const int64_t number : options_.required->packs()) {
    ASSIGN_OR_RETURN(std::optional<PackInfo> found, snapshot.FindPack(number));
    if (found && !tried_.contains({number, found->live_bytes}))
      required.push_back(*std::move(found));
  }
  return required;
}

bool Repack::CanRewrite(const PackInfo& pack, bool must_go) {
  if (failed_.contains(pack.pack)) return false;
  if (pack.wrapped_key.empty()) return true;
  const absl::Status opened =
      content::OpenPackKey(pack.wrapped_key, pack.blob_id, resources_.master_key).status();
  if (ReasonOf(opened) != Reason::kKeyMissing) return true;
  failed_.emplace(pack.pack, opened);
  if (must_go || pack.condemned_epoch > 0 || PaysAlone(pack)) failure_.Update(opened);
  return false;
}

std::vector<PackInfo> Repack::ChooseToCondemn(const Backlog& backlog) {
  // There may be no end of others.
  std::vector<PackInfo> chosen = backlog.required;
  const std::vector<PackInfo> others = ChooseToRewrite(backlog.others);
  chosen.insert(chosen.end(), others.begin(), others.end());
  // What nothing needs goes without any room, also when there is none for the rest.
  const auto first_live = std::stable_partition(
      chosen.begin(), chosen.end(), [](const PackInfo& pack) { return pack.live_bytes == 0; });
  const auto live = static_cast<size_t>(chosen.end() - first_live);
  const auto ready =
      static_cast<size_t>(std::count_if(backlog.ready.begin(), backlog.ready.end(),
                                        [](const PackInfo& pack) { return pack.live_bytes > 0; }));
  // What is ready goes in this step.
  const size_t staying = backlog.live - std::min(ready, kMaxCondemned);
  const size_t room = kMaxCondemned - std::min(kMaxCondemned, staying);
  chosen.resize(chosen.size() - live + std::min(live, room));
  return chosen;
}

absl::Status Repack::Condemn(const std::vector<PackInfo>& packs) {
  if (packs.empty()) return absl::OkStatus();
  std::vector<int64_t> numbers;
  int64_t chunks = 0;
  const auto condemn = [&]() -> absl::Status {
    const std::vector<int64_t> now = std::exchange(numbers, {});
    chunks = 0;
    return resources_.catalog
        .Run([&](Transaction& transaction) { return transaction.CondemnPacks(now); })
        .status();
  };
  for (const PackInfo& pack : packs) {
    const int64_t most = pack.chunk_count < storage::Snapshot::kManyChunks
                             ? pack.chunk_count
                             : static_cast<int64_t>(content::kMaxPackChunks);
    if (!numbers.empty() && chunks + most > kMaxCondemnedChunks) RETURN_IF_ERROR(condemn());
    numbers.push_back(pack.pack);
    chunks += most;
  }
  RETURN_IF_ERROR(condemn());
  return resources_.ledger.PublishNow();
}

absl::StatusOr<bool> Repack::WaitForUploads(const std::vector<PackInfo>& packs,
                                            const std::stop_token& token) {
  if (packs.empty()) return false;
  const int64_t wanted =
      std::min_element(packs.begin(), packs.end(), [](const PackInfo& a, const PackInfo& b) {
        return a.condemned_epoch < b.condemned_epoch;
      })->condemned_epoch;
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(options_.patience);
  while (true) {
    RETURN_IF_ERROR(resources_.ledger.PublishNow());
    ASSIGN_OR_RETURN(const int64_t oldest, resources_.catalog.Read([](storage::Snapshot& snapshot) {
      return snapshot.OldestEpoch();
    }));
    if (oldest >= wanted) return true;
    const absl::Duration left = absl::FromChrono(end - std::chrono::steady_clock::now());
    if (left <= absl::ZeroDuration() || !WaitFor(token, std::min(left, kPollInterval)))
      return false;
  }
}

absl::StatusOr<std::optional<Repack::Plan>> Repack::NextPlan(std::vector<PackInfo>& ready) {
  while (!ready.empty()) {
    ASSIGN_OR_RETURN(Plan plan, MakePlan(ready));
    if (!plan.sources.empty()) return plan;
  }
  return std::nullopt;
}

absl::StatusOr<Repack::Plan> Repack::MakePlan(std::vector<PackInfo>& ready) {
  // The disk may be full.
  std::sort(ready.begin(), ready.end(),
            [](const PackInfo& a, const PackInfo& b) { return a.live_bytes < b.live_bytes; });
  Plan plan;
  plan.form = ready.front().form;
  std::map<int64_t, absl::Status> unread;
  for (const PackInfo& pack : ready) {
    if (pack.form != plan.form) continue;
    if (plan.rows >= static_cast<int64_t>(Transaction::kMaxRewrittenChunks)) break;
    const bool goes_alone = !plan.sources.empty() &&
                            (alone_.contains(plan.sources.front()) || alone_.contains(pack.pack));
    if (goes_alone) break;
    // What needs no new pack goes alone, so that nothing can keep it.
    if (pack.live_bytes > 0 && plan.chunks.empty() && !plan.sources.empty()) break;
    const absl::StatusOr<bool> has_room = AddSource(pack, plan);
    // Another time the medium may give the footer that it does not give now, and the key may be
    // there.
    const std::optional<Reason> reason = ReasonOf(has_room.status());
    if (reason == Reason::kStorageIo || reason == Reason::kKeyMissing) {
      unread.emplace(pack.pack, has_room.status());
      failure_.Update(has_room.status());
      continue;
    }
    RETURN_IF_ERROR(has_room.status());
    if (!*has_room) break;
  }
  std::erase_if(ready, [&](const PackInfo& pack) {
    return unread.contains(pack.pack) ||
           std::count(plan.sources.begin(), plan.sources.end(), pack.pack) > 0;
  });
  failed_.merge(unread);
  return plan;
}

absl::StatusOr<bool> Repack::AddSource(const PackInfo& pack, Plan& plan) const {
  const CarriedParts before = plan.parts;
  // Of what needs no new pack nothing tells of a version that is there.
  if (pack.live_bytes > 0) {
    ASSIGN_OR_RETURN(const bool has_room,
                     plan.parts.Take(pack, {resources_.blobs, resources_.master_key}));
    if (!has_room) return false;
  }
  ASSIGN_OR_RETURN(const bool has_room, resources_.catalog.Read([&](storage::Snapshot& snapshot) {
    return AddToPlan(snapshot, pack.pack, plan);
  }));
  // What a pack tells takes room that is there only if its chunks come along.
  if (plan.sources.empty() || plan.sources.back() != pack.pack) plan.parts = before;
  return has_room;
}

absl::StatusOr<bool> Repack::AddToPlan(storage::Snapshot& snapshot, int64_t pack, Plan& plan) {
  std::vector<StoredChunk> chunks;
  int64_t stored_bytes = 0;
  bool has_room = true;
  for (int after = -1; has_room;) {
    ASSIGN_OR_RETURN(const std::vector<StoredChunk> page,
                     snapshot.ListPackChunks(pack, after, kPage));
    if (page.empty()) break;
    after = page.back().index;
    for (const StoredChunk& chunk : page) {
      ++plan.rows;
      if (chunk.refs <= 0) plan.parts.NoteUnneeded(chunk.ref.id);
      if (chunk.refs <= 0 || chunk.is_damaged) continue;
      const size_t count = plan.chunks.size() + chunks.size();
      const int64_t all_bytes = plan.stored_bytes + stored_bytes + plan.parts.size_bytes();
      has_room = count < Transaction::kMaxRewrittenChunks &&
                 LargestSize(count + 1, all_bytes + chunk.stored_size) <= content::kMaxPackSize;
      if (!has_room) break;
      chunks.push_back(chunk);
      stored_bytes += chunk.stored_size;
    }
  }
  if (!has_room && !plan.sources.empty()) return false;
  plan.sources.push_back(pack);
  plan.chunks.insert(plan.chunks.end(), chunks.begin(), chunks.end());
  plan.stored_bytes += stored_bytes;
  return has_room;
}

absl::StatusOr<Repack::Rewritten> Repack::Rewrite(const Plan& plan, const std::stop_token& token,
                                                  const std::function<void()>& all_is_read) {
  Rewritten rewritten;
  if (plan.chunks.empty()) return rewritten;
  ASSIGN_OR_RETURN(rewritten.blob, handlers::PendingBlob::Take(resources_.ledger));
  const BlobId& id = rewritten.blob->id();
  RewrittenPack pack({resources_.blobs, resources_.store_keys, resources_.master_key,
                      resources_.stages.pieces, id_keys_, pace_},
                     id, plan.chunks, plan.parts, plan.form, resources_.policy.compression, token,
                     all_is_read);
  const std::unique_ptr<ReadAheadSource> ahead =
      ReadAheadSource::TryMake(pack, resources_.stages.read_ahead);
  ASSIGN_OR_RETURN(const int64_t size_bytes,
                   resources_.blobs.Put(id, ahead ? static_cast<ByteSource&>(*ahead) : pack,
                                        LargestSize(plan.chunks.size(),
                                                    plan.stored_bytes + plan.parts.size_bytes())));
  rewritten.damaged = pack.damaged();
  storage::NewPack made = pack.TakePack();
  if (made.chunks.empty()) return rewritten;
  made.size_bytes = size_bytes;
  rewritten.packs.push_back(std::move(made));
  return rewritten;
}

absl::StatusOr<int64_t> Repack::Carry(const Plan& plan, const std::stop_token& token,
                                      const std::function<void()>& all_is_read) {
  ASSIGN_OR_RETURN(Rewritten rewritten, Rewrite(plan, token, all_is_read));
  ASSIGN_OR_RETURN(const int64_t gone,
                   resources_.catalog.Run([&](Transaction& transaction) -> absl::StatusOr<int64_t> {
                     for (const StoredChunk& chunk : rewritten.damaged)
                       RETURN_IF_ERROR(transaction.MarkDamaged(chunk.number, chunk.pack));
                     return transaction.RewritePacks(plan.sources, rewritten.packs);
                   }));
  if (!rewritten.packs.empty()) rewritten.blob->Keep();
  for (const StoredChunk& chunk : rewritten.damaged) resources_.chunk_cache.Forget(chunk.ref.id);
  damaged_.Add(static_cast<double>(rewritten.damaged.size()));
  if (gone > 0) resources_.blob_was_dropped();
  return gone;
}

}  // namespace backup::jobs
