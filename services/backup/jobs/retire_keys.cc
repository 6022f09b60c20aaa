#include "services/backup/jobs/retire_keys.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <variant>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/hex.h"
#include "base/ids.h"
#include "base/low_priority_thread.h"
#include "base/name_text.h"
#include "base/process.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"
#include "content/stored_content.h"
#include "glog/logging.h"
#include "services/backup/handlers/keys.h"
#include "services/backup/handlers/pending_blob.h"
#include "services/backup/handlers/session_keys.h"

namespace backup::jobs {
namespace {

using handlers::KeyRetirement;
using storage::PackInfo;
using storage::StoredVersion;
using storage::Transaction;

// Clients of one transaction, so that others need not wait for it for long.
constexpr int kClients = 64;
// Versions of one step; small ones of older programs come with their content.
constexpr int kVersions = 64;
// Packs that are looked at in one step, and of those that are handed to `repack` at once.
constexpr int kPacks = 64;
// To read the end of a blob costs about as much as so many bytes.
constexpr int64_t kFooterCost = 16 << 10;
// Things that are left are named in the log, in each round at most so many.
constexpr int64_t kNamed = 100;
constexpr std::chrono::hours kTellAgain{1};

// Of a blob, all before its footer, and then another footer.
class WithFooter final : public ByteSource {
 public:
  WithFooter(ByteSource& payload, std::string footer, Pace& pace, const std::stop_token& token)
      : payload_(payload), footer_(std::move(footer)), pace_(pace), token_(token) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (is_over_) return absl::string_view();
    ASSIGN_OR_RETURN(const absl::string_view piece, payload_.Read());
    if (!pace_.Move(2 * std::ssize(piece), token_)) return absl::CancelledError("stopped");
    if (!piece.empty()) return piece;
    is_over_ = true;
    return footer_;
  }
  size_t lasting_pieces() const override { return payload_.lasting_pieces(); }
  void set_end_uses(std::function<void()> end) override { payload_.set_end_uses(std::move(end)); }

 private:
  ByteSource& payload_;
  const std::string footer_;
  Pace& pace_;
  const std::stop_token& token_;
  bool is_over_ = false;
};

absl::Status Stopped() { return absl::CancelledError("stopped"); }

// Of what scrub has marked, or somebody has moved, since it was listed.
absl::Status MarkedMeanwhile() {
  return MakeError(Reason::kBlobDamaged, "it was found damaged meanwhile");
}

// Whether what ended with this may be left, and all else go on. Anything else is no fault of it.
bool IsOfTheThing(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  return absl::IsNotFound(status) || reason == Reason::kBlobDamaged ||
         reason == Reason::kStorageIo || reason == Reason::kKeyMissing;
}

std::string NameOf(const storage::Version& version) {
  return absl::StrCat("version ", version.version_id, " of ", NameToText(version.file_name),
                      " of client ", ToUuid(version.client_id));
}

std::string NameOfPack(const BlobId& blob) { return absl::StrCat("pack ", ToHex(blob)); }

}  // namespace

absl::StatusOr<Job::Progress> RetireKeys::Step(const std::string& /*cursor*/, int64_t /*budget*/,
                                               const std::stop_token& token) {
  BecomeLowPriority();
  count_ = 0;
  const absl::StatusOr<Progress> progress = DoStep(token);
  if (!progress.ok()) {
    has_told_error_ = true;
  } else if (progress->is_done && !progress->is_idle) {
    has_told_error_ = false;
  }
  const bool goes_on = progress.ok() && !progress->is_done && !progress->is_idle;
  if (!goes_on) count_of_run_ = 0;
  return progress;
}

absl::StatusOr<Job::Progress> RetireKeys::DoStep(const std::stop_token& token) {
  RETURN_IF_ERROR(Load());
  Progress progress;
  progress.is_done = state_.generations.empty();
  // What was told of those that were to go is so no more.
  progress.is_idle = !progress.is_done || !has_told_error_;
  if (progress.is_done || WaitsForNextRound()) return progress;
  const absl::StatusOr<bool> waits = DoPart(token);
  if (!waits.ok() && token.stop_requested()) return progress;
  RETURN_IF_ERROR(waits.status());
  progress.count = count_;
  count_of_run_ += count_;
  // Whoever waits has done something before, or is idle.
  progress.is_idle = *waits && count_of_run_ == 0;
  progress.is_done = *waits || state_.generations.empty();
  return progress;
}

absl::Status RetireKeys::Load() {
  std::optional<std::string> secret;
  ASSIGN_OR_RETURN(
      KeyRetirement kept,
      resources_.catalog.Read([&](storage::Snapshot& snapshot) -> absl::StatusOr<KeyRetirement> {
        ASSIGN_OR_RETURN(secret, snapshot.FindStoreValue(std::string(content::StoreKeys::kName)));
        return handlers::FindRetirement(snapshot);
      }));
  if (kept.generations != state_.generations) {
    uses_.reset();
    goes_again_ = false;
  }
  if (page_ && (kept.generations != state_.generations || kept.phase != Phase::kPacks)) {
    page_.reset();
    packs_.Require({});
  }
  state_ = std::move(kept);
  if (state_.generations.empty() || !secret || *secret == store_keys_.sealed_secret())
    return absl::OkStatus();
  // It was sealed anew, whatever that transaction ended with. Packs have it from now on.
  return store_keys_.SetSealedSecret(*secret, resources_.master_key);
}

bool RetireKeys::WaitsForNextRound() const {
  const absl::Duration left = state_.next_round_time - resources_.clock.Now();
  // The clock may have been ahead.
  return left > absl::ZeroDuration() && left <= kMaxRoundInterval;
}

absl::StatusOr<bool> RetireKeys::DoPart(const std::stop_token& token) {
  switch (state_.phase) {
    case Phase::kSecret:
      return ResealSecret();
    case Phase::kUses:
      return WaitForUses(Phase::kClients);
    case Phase::kClients:
      return ResealClients();
    case Phase::kTrashedClients:
      return ResealTrashedClients();
    case Phase::kVersions:
      return ResealVersions(token);
    case Phase::kPacks:
      return RewritePacks(token);
    case Phase::kUnknownBlobs:
      return LookAtUnknownBlobs(token);
    case Phase::kLastUses:
      return WaitForUses(Phase::kRemoval);
    case Phase::kRemoval:
      return Remove(token);
  }
  return absl::InternalError("there is no such phase");
}

void RetireKeys::GoOnWith(Phase phase) {
  state_.phase = phase;
  state_.position.clear();
  uses_.reset();
}

absl::Status RetireKeys::Save(Transaction& transaction, int64_t resealed) const {
  ASSIGN_OR_RETURN(const KeyRetirement now, handlers::FindRetirement(transaction));
  if (now.generations != state_.generations) return absl::OkStatus();
  KeyRetirement next = state_;
  next.resealed = now.resealed + resealed;
  if (resealed > 0 || next.rounds == 0) next.progress_time = resources_.clock.Now();
  return handlers::SaveRetirement(transaction, next);
}

absl::Status RetireKeys::Save(int64_t resealed) {
  RETURN_IF_ERROR(resources_.catalog.Run(
      [&](Transaction& transaction) { return Save(transaction, resealed); }));
  count_ += resealed;
  return absl::OkStatus();
}

std::string RetireKeys::Generations() const { return absl::StrJoin(state_.generations, ", "); }

void RetireKeys::Leave(const Left& left) {
  std::string line = absl::StrCat(left.what, ": ", left.why.message());
  LOG_IF(WARNING, state_.left < kNamed)
      << "what a key generation that is to go has sealed cannot be sealed anew: " << line;
  if (++state_.left == 1) state_.first_left = std::move(line);
}

absl::Status RetireKeys::EndRound() {
  const absl::Duration interval =
      std::min(kMaxRoundInterval,
               kFirstRoundInterval * (int64_t{1} << std::min<int64_t>(state_.rounds, 10)));
  ++state_.rounds;
  state_.BeginRound();
  state_.next_round_time = resources_.clock.Now() + interval;
  RETURN_IF_ERROR(Save());
  return absl::FailedPreconditionError(absl::StrCat(
      state_.left, " things that the key generations ", Generations(),
      " have sealed cannot be sealed anew, so these stay; the log names them, the first is ",
      state_.first_left, "; it is tried again after ", absl::FormatDuration(interval),
      ", or at once by `backupctl key retire`"));
}

absl::StatusOr<bool> RetireKeys::ResealSecret() {
  std::string sealed = store_keys_.sealed_secret();
  const bool is_retiring =
      IsRetiring(content::StoreKeys::GenerationOf(sealed, resources_.master_key));
  if (is_retiring) sealed = store_keys_.Reseal(resources_.master_key);
  state_.left = 0;
  state_.first_left.clear();
  state_.next_round_time = absl::InfinitePast();
  GoOnWith(Phase::kUses);
  RETURN_IF_ERROR(resources_.catalog.Run([&](Transaction& transaction) -> absl::Status {
    if (is_retiring) {
      RETURN_IF_ERROR(transaction.SetStoreValue(std::string(content::StoreKeys::kName), sealed));
    }
    return Save(transaction, is_retiring ? 1 : 0);
  }));
  if (is_retiring) ++count_;
  return false;
}

absl::StatusOr<bool> RetireKeys::WaitForUses(Phase next) {
  const crypto::KeyRing& ring = resources_.master_key;
  if (!uses_) uses_ = ring.NextUse();
  if (ring.HaveEnded(*uses_)) {
    GoOnWith(next);
    RETURN_IF_ERROR(Save());
    return false;
  }
  const absl::Duration longest = ring.LongestUse();
  const auto now = std::chrono::steady_clock::now();
  if (longest < options_.patience || now < tell_again_) return true;
  tell_again_ = now + kTellAgain;
  return absl::DeadlineExceededError(absl::StrCat(
      "a call or a job that began ", absl::FormatDuration(absl::Floor(longest, absl::Seconds(1))),
      " ago may still have something of the key generations ", Generations(),
      ": they wait until it has ended"));
}

// Session keys.

absl::Status RetireKeys::ResealSessionKeys(const std::vector<storage::Client>& clients,
                                           std::string position) {
  const crypto::KeyRing& ring = resources_.master_key;
  std::vector<std::pair<const storage::Client*, std::string>> resealed;
  for (const storage::Client& client : clients) {
    const std::optional<uint32_t> generation = handlers::GenerationOfSessionKey(ring, client);
    if (!generation || !IsRetiring(*generation)) continue;
    const absl::StatusOr<SecretBytes> key = handlers::OpenSessionKey(ring, client);
    if (key.ok()) {
      resealed.emplace_back(&client, handlers::SealSessionKey(ring, client.id, *key));
    } else {
      Leave({absl::StrCat("the session key of client ", ToUuid(client.id)), key.status()});
    }
  }
  state_.position = std::move(position);
  ASSIGN_OR_RETURN(const int64_t count,
                   resources_.catalog.Run([&](Transaction& transaction) -> absl::StatusOr<int64_t> {
                     int64_t changed = 0;
                     for (const auto& [client, sealed] : resealed) {
                       ASSIGN_OR_RETURN(const bool was_there,
                                        transaction.ResealSessionKey(
                                            client->id, client->sealed_session_key, sealed));
                       if (was_there) ++changed;
                     }
                     RETURN_IF_ERROR(Save(transaction, changed));
                     return changed;
                   }));
  count_ += count;
  return absl::OkStatus();
}

absl::StatusOr<bool> RetireKeys::ResealClients() {
  const ClientId after =
      ClientId::FromBytes(HexToBytes(state_.position).value_or("")).value_or(ClientId());
  ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListClients(after, kClients);
                   }));
  if (page.empty()) {
    GoOnWith(Phase::kTrashedClients);
    RETURN_IF_ERROR(Save());
    return false;
  }
  RETURN_IF_ERROR(ResealSessionKeys(page, absl::BytesToHexString(page.back().id.bytes())));
  return false;
}

absl::StatusOr<bool> RetireKeys::ResealTrashedClients() {
  storage::TrashPosition<ClientId> after;
  const std::vector<std::string> parts = absl::StrSplit(state_.position, '/');
  int64_t micros = 0;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &micros)) {
    after.delete_time = absl::FromUnixMicros(micros);
    after.id = ClientId::FromBytes(HexToBytes(parts[1]).value_or("")).value_or(ClientId());
  }
  ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListTrashedClients(after, kClients);
                   }));
  if (page.empty()) {
    GoOnWith(Phase::kVersions);
    RETURN_IF_ERROR(Save());
    return false;
  }
  const storage::Client& last = page.back();
  RETURN_IF_ERROR(ResealSessionKeys(
      page, absl::StrCat(absl::ToUnixMicros(last.delete_time.value_or(absl::UnixEpoch())), "/",
                         absl::BytesToHexString(last.id.bytes()))));
  return false;
}

// Versions.

absl::StatusOr<bool> RetireKeys::ResealVersions(const std::stop_token& token) {
  // What it lists may be on its way to another place.
  const crypto::KeyRing::Use use(resources_.master_key);
  int64_t after = 0;
  if (!absl::SimpleAtoi(state_.position, &after)) after = 0;
  ASSIGN_OR_RETURN(const std::vector<StoredVersion> page,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ScanVersions(after, kVersions);
                   }));
  if (page.empty()) {
    GoOnWith(Phase::kPacks);
    RETURN_IF_ERROR(Save());
    return false;
  }
  for (const StoredVersion& stored : page) {
    if (token.stop_requested()) break;
    RETURN_IF_ERROR(ResealVersion(stored, token));
    state_.position = absl::StrCat(stored.version.version_id);
  }
  RETURN_IF_ERROR(Save());
  return false;
}

bool RetireKeys::IsRetiring(const content::BlobFooter& footer) const {
  return footer.form != storage::StorageForm::kPlain &&
         IsRetiring(resources_.master_key.GenerationOf(footer.wrapped_key,
                                                       content::EncodeFooterFields(footer)));
}

absl::Status RetireKeys::ResealVersion(const StoredVersion& stored, const std::stop_token& token) {
  const bool is_blob = std::holds_alternative<BlobId>(stored.content);
  const bool is_whole = is_blob || std::holds_alternative<std::string>(stored.content);
  if (!is_whole || stored.version.form == storage::StorageForm::kPlain) return absl::OkStatus();
  if (is_blob && !pace_.Move(kFooterCost, token)) return Stopped();
  const absl::StatusOr<content::BlobFooter> footer = handlers::FooterOf(resources_.blobs, stored);
  if (footer.ok() && !IsRetiring(*footer)) return absl::OkStatus();
  absl::Status replaced = footer.status();
  if (replaced.ok() && stored.version.is_damaged)
    replaced = MakeError(Reason::kBlobDamaged, "it is marked as damaged");
  if (replaced.ok()) replaced = ReplaceWhole(stored, *footer, token);
  if (replaced.ok() || !IsOfTheThing(replaced)) return replaced;
  ASSIGN_OR_RETURN(const bool is_still_so, IsStillSo(stored));
  if (is_still_so) Leave({NameOf(stored.version), replaced});
  return absl::OkStatus();
}

absl::StatusOr<bool> RetireKeys::IsStillSo(const StoredVersion& stored) {
  const int64_t id = stored.version.version_id;
  ASSIGN_OR_RETURN(const std::vector<StoredVersion> now,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ScanVersions(id - 1, /*limit=*/1);
                   }));
  return !now.empty() && now.front().version.version_id == id &&
         now.front().content == stored.content;
}

absl::Status RetireKeys::ReplaceWhole(const StoredVersion& stored, content::BlobFooter footer,
                                      const std::stop_token& token) {
  const std::string context = content::EncodeFooterFields(footer);
  ASSIGN_OR_RETURN(const SecretBytes key, resources_.master_key.Open(footer.wrapped_key, context));
  footer.wrapped_key = resources_.master_key.Seal(key, context);
  const auto* const bytes = std::get_if<std::string>(&stored.content);
  return bytes != nullptr ? ReplaceInline(stored, *bytes, footer, token)
                          : ReplaceBlob(stored, std::get<BlobId>(stored.content), footer, token);
}

absl::Status RetireKeys::ReplaceInline(const StoredVersion& stored, const std::string& bytes,
                                       const content::BlobFooter& footer,
                                       const std::stop_token& token) {
  const std::string copy =
      absl::StrCat(absl::string_view(bytes).substr(0, static_cast<size_t>(footer.payload_size)),
                   content::EncodeFooter(footer));
  RETURN_IF_ERROR(CheckCopy(std::make_unique<StringAccess>(copy), stored.version, token));
  ASSIGN_OR_RETURN(const bool was_there, Replace(stored, copy));
  return was_there ? absl::OkStatus() : MarkedMeanwhile();
}

absl::Status RetireKeys::ReplaceBlob(const StoredVersion& stored, const BlobId& blob,
                                     const content::BlobFooter& footer,
                                     const std::stop_token& token) {
  ASSIGN_OR_RETURN(handlers::PendingBlob pending, handlers::PendingBlob::Take(resources_.ledger));
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> old, resources_.blobs.Open(blob));
  RangeSource payload(*old, resources_.stages.pieces, 0, footer.payload_size);
  WithFooter whole(payload, content::EncodeFooter(footer), pace_, token);
  ASSIGN_OR_RETURN(const int64_t size_bytes,
                   resources_.blobs.Put(pending.id(), whole, old->size_bytes()));
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccess> copy, resources_.blobs.Open(pending.id()));
  RETURN_IF_ERROR(CheckCopy(std::move(copy), stored.version, token));
  ASSIGN_OR_RETURN(const bool was_there,
                   Replace(stored, storage::NewBlob{pending.id(), size_bytes}));
  // In either case the catalog knows what is to become of it.
  pending.Keep();
  resources_.blob_was_dropped();
  return was_there ? absl::OkStatus() : MarkedMeanwhile();
}

absl::Status RetireKeys::CheckCopy(std::unique_ptr<RandomAccess> copy,
                                   const storage::Version& version, const std::stop_token& token) {
  ASSIGN_OR_RETURN(const std::unique_ptr<content::StoredContent> content,
                   content::StoredContent::Open(std::move(copy), resources_.master_key, version));
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> plain,
                   content->ReadWhole(resources_.stages.pieces));
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, plain->Read());
    if (piece.empty()) return absl::OkStatus();
    if (!pace_.Move(std::ssize(piece), token)) return Stopped();
  }
}

absl::StatusOr<bool> RetireKeys::Replace(const StoredVersion& stored,
                                         const storage::NewContent& content) {
  state_.position = absl::StrCat(stored.version.version_id);
  ASSIGN_OR_RETURN(const bool was_there,
                   resources_.catalog.Run([&](Transaction& transaction) -> absl::StatusOr<bool> {
                     ASSIGN_OR_RETURN(const bool replaced,
                                      transaction.ReplaceContent(stored.version.version_id,
                                                                 stored.content, content));
                     // Else it may have to be left, which is to be known before the place behind
                     // it.
                     if (replaced) RETURN_IF_ERROR(Save(transaction, /*resealed=*/1));
                     return replaced;
                   }));
  if (was_there) ++count_;
  return was_there;
}

// Packs.

absl::StatusOr<bool> RetireKeys::IsRetiring(const BlobId& id) const {
  const crypto::KeyRing& ring = resources_.master_key;
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> blob, resources_.blobs.Open(id));
  ASSIGN_OR_RETURN(const bool is_pack, content::IsPack(*blob));
  if (!is_pack) {
    ASSIGN_OR_RETURN(const content::BlobFooter footer, content::ReadFooter(*blob));
    return IsRetiring(footer);
  }
  ASSIGN_OR_RETURN(const content::PackFooter footer, content::ReadPackFooter(*blob));
  return IsRetiring(content::StoreKeys::GenerationOf(footer.sealed_secret, ring)) ||
         (footer.form == storage::StorageForm::kSealed &&
          IsRetiring(content::GenerationOfPackKey(footer.wrapped_key, footer.pack_id, ring)));
}

absl::StatusOr<bool> RetireKeys::RewritePacks(const std::stop_token& token) {
  const crypto::KeyRing::Use use(resources_.master_key);
  if (page_) return SettlePacks();
  ASSIGN_OR_RETURN(PackPage page, LookAtPacks(token));
  if (page.last == 0) {
    GoOnWith(Phase::kUnknownBlobs);
    RETURN_IF_ERROR(Save());
    return false;
  }
  packs_.Require(page.handed);
  page_ = std::move(page);
  return SettlePacks();
}

absl::StatusOr<RetireKeys::PackPage> RetireKeys::LookAtPacks(const std::stop_token& token) {
  int64_t after = 0;
  if (!absl::SimpleAtoi(state_.position, &after)) after = 0;
  ASSIGN_OR_RETURN(const std::vector<PackInfo> packs,
                   resources_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListPacks(after, kPacks);
                   }));
  PackPage page;
  for (const PackInfo& pack : packs) {
    RETURN_IF_ERROR(LookAtPack(pack, page, token));
    page.last = pack.pack;
  }
  return page;
}

absl::Status RetireKeys::LookAtPack(const PackInfo& pack, PackPage& page,
                                    const std::stop_token& token) {
  const bool key_is_retiring =
      !pack.wrapped_key.empty() && IsRetiring(content::GenerationOfPackKey(
                                       pack.wrapped_key, pack.blob_id, resources_.master_key));
  if (!key_is_retiring && !pace_.Move(kFooterCost, token)) return Stopped();
  const absl::StatusOr<bool> is_retiring =
      key_is_retiring ? absl::StatusOr<bool>(true) : IsRetiring(pack.blob_id);
  // Nothing is told by a footer that is damaged or gone, but for the key, which the catalog has.
  if (ReasonOf(is_retiring.status()) == Reason::kBlobDamaged ||
      absl::IsNotFound(is_retiring.status()))
    return absl::OkStatus();
  if (ReasonOf(is_retiring.status()) == Reason::kStorageIo) {
    page.left.push_back({NameOfPack(pack.blob_id), is_retiring.status()});
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(is_retiring.status());
  if (*is_retiring) page.handed.push_back(pack.pack);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PackInfo>> RetireKeys::StillThere() {
  return resources_.catalog.Read(
      [&](storage::Snapshot& snapshot) -> absl::StatusOr<std::vector<PackInfo>> {
        std::vector<PackInfo> there;
        for (const int64_t pack : page_->handed) {
          ASSIGN_OR_RETURN(std::optional<PackInfo> found, snapshot.FindPack(pack));
          if (found) there.push_back(*std::move(found));
        }
        return there;
      });
}

absl::StatusOr<bool> RetireKeys::SettlePacks() {
  ASSIGN_OR_RETURN(const std::vector<PackInfo> there, StillThere());
  const int64_t gone = std::ssize(page_->handed) - std::ssize(there);
  page_->handed.clear();
  for (const PackInfo& pack : there) page_->handed.push_back(pack.pack);
  if (!there.empty() && !packs_.were_tried()) {
    if (gone > 0) RETURN_IF_ERROR(Save(gone));
    options_.wake_repack();
    return true;
  }
  std::vector<Left> left = page_->left;
  for (const PackInfo& pack : there) {
    absl::Status why = packs_.FailureOf(pack.pack);
    if (!why.ok() && !IsOfTheThing(why)) return TryPacksAgain(gone, why);
    if (why.ok()) why = MakeError(Reason::kBlobDamaged, "a chunk of it is damaged");
    left.push_back({NameOfPack(pack.blob_id), why});
  }
  for (const Left& each : left) Leave(each);
  state_.position = absl::StrCat(page_->last);
  page_.reset();
  packs_.Require({});
  RETURN_IF_ERROR(Save(gone));
  return false;
}

absl::StatusOr<bool> RetireKeys::TryPacksAgain(int64_t gone, const absl::Status& why) {
  packs_.Require(page_->handed);
  if (gone > 0) RETURN_IF_ERROR(Save(gone));
  // Of uploads nothing is to be told: they end.
  if (absl::IsUnavailable(why) && !ReasonOf(why)) return true;
  return WithMessage(why, absl::StrCat("repack: ", why.message()));
}

// The end.

absl::StatusOr<bool> RetireKeys::LookAtUnknownBlobs(const std::stop_token& token) {
  RETURN_IF_ERROR(resources_.blobs.List([&](const storage::BlobInfo& info) -> absl::Status {
    if (token.stop_requested()) return Stopped();
    ASSIGN_OR_RETURN(const bool is_unknown, IsUnknown(info.id));
    if (!is_unknown) return absl::OkStatus();
    if (!pace_.Move(kFooterCost, token)) return Stopped();
    return LookAtUnknownBlob(info.id);
  }));
  if (state_.left > 0) return EndRound();
  GoOnWith(Phase::kLastUses);
  RETURN_IF_ERROR(Save());
  return false;
}

absl::StatusOr<bool> RetireKeys::IsUnknown(const BlobId& id) {
  ASSIGN_OR_RETURN(
      const storage::BlobUse use,
      resources_.catalog.Read([&](storage::Snapshot& snapshot) { return snapshot.FindBlob(id); }));
  return use == storage::BlobUse::kUnknown;
}

absl::Status RetireKeys::LookAtUnknownBlob(const BlobId& id) {
  const absl::StatusOr<bool> is_retiring = IsRetiring(id);
  // It has gone since, or nothing tells which key would open it.
  if (absl::IsNotFound(is_retiring.status()) ||
      ReasonOf(is_retiring.status()) == Reason::kBlobDamaged)
    return absl::OkStatus();
  absl::Status why = is_retiring.status();
  if (why.ok() && !*is_retiring) return why;
  if (!why.ok() && !IsOfTheThing(why)) return why;
  ASSIGN_OR_RETURN(const bool is_unknown, IsUnknown(id));
  if (!is_unknown) return absl::OkStatus();
  if (why.ok()) {
    why = absl::FailedPreconditionError(
        "the catalog knows nothing of it: `backupctl state rebuild` takes it in");
  }
  Leave({absl::StrCat("blob ", ToHex(id)), why});
  return absl::OkStatus();
}

absl::StatusOr<bool> RetireKeys::GoThroughAgain(const std::string& still_sealed) {
  // A client may move into the trash, or out of it, past the place where it is looked for; it does
  // not each time.
  if (std::exchange(goes_again_, true)) {
    Leave({still_sealed, absl::FailedPreconditionError("no round has met it where it is now")});
    return EndRound();
  }
  state_.BeginRound();
  RETURN_IF_ERROR(Save());
  return true;
}

absl::StatusOr<bool> RetireKeys::Remove(const std::stop_token& token) {
  const std::set<uint32_t> numbers = state_.generations;
  const auto forget = [&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(KeyRetirement now, handlers::FindRetirement(transaction));
    if (!std::includes(now.generations.begin(), now.generations.end(), numbers.begin(),
                       numbers.end()))
      return absl::AbortedError("some of them are to stay by now");
    std::erase_if(now.generations, [&](uint32_t each) { return numbers.contains(each); });
    if (now.generations.empty()) now = {};
    return handlers::SaveRetirement(transaction, now);
  };
  const absl::StatusOr<std::string> still_sealed = keeper_.Remove(numbers, forget);
  if (absl::IsAborted(still_sealed.status())) return true;
  RETURN_IF_ERROR(still_sealed.status());
  if (!still_sealed->empty()) return GoThroughAgain(*still_sealed);
  const std::string gone = Generations();
  state_ = {};
  LOG_CRITICAL << "nothing is sealed by these key generations any more, and they are gone: "
               << gone;
  const absl::Status snapshot = options_.back_up_state(token);
  if (snapshot.ok()) return false;
  return WithMessage(snapshot, absl::StrCat("the key generations ", gone,
                                            " are gone, but not from any snapshot of the state: ",
                                            snapshot.message()));
}

}  // namespace backup::jobs
