#include "services/backup/handlers/scrub.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/scrub_state.h"

namespace backup::handlers {
namespace {

// Blobs that one transaction gives up, so that others need not wait for it for long.
constexpr int kDiscardedAtOnce = 64;

v1::ScrubTally ToProto(const ScrubTally& tally) {
  v1::ScrubTally out;
  out.set_stored_bytes(tally.stored_bytes);
  out.set_pack_count(tally.packs);
  out.set_version_count(tally.versions);
  out.set_missing_count(tally.missing);
  out.set_damaged_count(tally.damaged);
  out.set_unreadable_count(tally.unreadable);
  out.set_orphan_count(tally.orphans);
  return out;
}

v1::Scrub::State StateOf(const ScrubState& state, const ScrubPolicy& policy) {
  if (state.is_paused) return v1::Scrub::PAUSED;
  if (state.start_time || state.is_wanted) return v1::Scrub::RUNNING;
  return policy.period > absl::ZeroDuration() ? v1::Scrub::WAITING : v1::Scrub::OFF;
}

absl::StatusOr<v1::Scrub> Describe(storage::Snapshot& snapshot, const ScrubState& state,
                                   const ScrubPolicy& policy) {
  ASSIGN_OR_RETURN(const storage::Counts counts, snapshot.Count());
  v1::Scrub scrub;
  scrub.set_state(StateOf(state, policy));
  scrub.set_progress_ratio(state.progress());
  if (state.start_time) {
    SetTime(*state.start_time, *scrub.mutable_start_time());
    *scrub.mutable_tally() = ToProto(state.tally);
  } else if (policy.period > absl::ZeroDuration() && state.last_start_time) {
    SetTime(state.NextStart(policy.period), *scrub.mutable_next_start_time());
  }
  if (state.last_end_time) {
    SetTime(*state.last_start_time, *scrub.mutable_last_start_time());
    SetTime(*state.last_end_time, *scrub.mutable_last_end_time());
    *scrub.mutable_last_tally() = ToProto(state.last_tally);
  }
  scrub.mutable_period()->set_seconds(absl::ToInt64Seconds(policy.period));
  scrub.set_bytes_per_second(policy.bytes_per_second);
  scrub.set_damaged_chunk_count(counts.damaged_chunks);
  scrub.set_damaged_version_count(counts.marked_versions);
  scrub.set_set_aside_blob_count(counts.set_aside_blobs);
  scrub.set_healed_chunk_count(counts.healed_chunks);
  scrub.set_healed_version_count(counts.healed_versions);
  return scrub;
}

}  // namespace

absl::StatusOr<v1::GetScrubResponse> GetScrub(storage::Snapshot& snapshot,
                                              const ScrubPolicy& policy) {
  v1::GetScrubResponse response;
  ASSIGN_OR_RETURN(const ScrubState state, FindScrub(snapshot));
  ASSIGN_OR_RETURN(*response.mutable_scrub(), Describe(snapshot, state, policy));
  return response;
}

absl::StatusOr<v1::StartScrubResponse> StartScrub(storage::Transaction& transaction,
                                                  const ScrubPolicy& policy) {
  v1::StartScrubResponse response;
  ASSIGN_OR_RETURN(ScrubState state, FindScrub(transaction));
  state.is_paused = false;
  if (!state.start_time) state.is_wanted = true;
  RETURN_IF_ERROR(SaveScrub(transaction, state));
  ASSIGN_OR_RETURN(*response.mutable_scrub(), Describe(transaction, state, policy));
  return response;
}

absl::StatusOr<v1::PauseScrubResponse> PauseScrub(storage::Transaction& transaction,
                                                  const ScrubPolicy& policy) {
  v1::PauseScrubResponse response;
  ASSIGN_OR_RETURN(ScrubState state, FindScrub(transaction));
  state.is_paused = true;
  RETURN_IF_ERROR(SaveScrub(transaction, state));
  ASSIGN_OR_RETURN(*response.mutable_scrub(), Describe(transaction, state, policy));
  return response;
}

absl::StatusOr<v1::DiscardDamagedResponse> DiscardDamaged(storage::Catalog& catalog) {
  v1::DiscardDamagedResponse response;
  while (true) {
    ASSIGN_OR_RETURN(const int64_t discarded, catalog.Run([](storage::Transaction& transaction) {
      return transaction.DiscardSetAside(kDiscardedAtOnce);
    }));
    response.set_discarded_count(response.discarded_count() + discarded);
    if (discarded < kDiscardedAtOnce) return response;
  }
}

}  // namespace backup::handlers
