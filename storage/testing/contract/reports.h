#pragma once

#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

TEST_P(CatalogContract, CountsWhatItHolds) {
  EXPECT_EQ(Count().clients, 0);
  EXPECT_EQ(LastVerifiedTime(At(9)), std::nullopt);
  const ClientId id = Register("name", 1).id;
  Register("other", 2);
  Add(id, "a");
  Settle(id, "a", Outcome::kVerified);
  Add(id, "a", Blob(IdOf<BlobId>(1)));
  Add(id, "b", Blob(IdOf<BlobId>(2)));
  Settle(id, "b", Outcome::kAbandoned);
  const Counts counts = Count();
  EXPECT_EQ(counts.clients, 2);
  EXPECT_EQ(counts.files, 2);
  EXPECT_EQ(counts.versions, 3);
  EXPECT_EQ(counts.verified_versions, 1);
  EXPECT_EQ(counts.abandoned_versions, 1);
  EXPECT_EQ(counts.stored_bytes, 20);
  EXPECT_EQ(counts.blob_bytes, kBlobSize);
  EXPECT_EQ(counts.dropped_blobs, 1);
  EXPECT_EQ(LastVerifiedTime(At(9)), At(3));
}

TEST_P(CatalogContract, KnowsWhatEachClientKeepsAndSentAgain) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  const auto bytes = [&](const ClientId& of) { return FindClient(of)->stored_bytes; };
  Add(other, "a");
  Add(id, "a");
  Add(id, "b", Blob(IdOf<BlobId>(1)));
  EXPECT_EQ(bytes(id), 20);
  Settle(id, "a", Outcome::kRetrying);
  EXPECT_EQ(bytes(id), 10);
  Settle(id, "a", Outcome::kRetrying);  // Of nothing: it was settled.
  EXPECT_EQ(FindClient(id)->resends, 1);
  Settle(id, "b", Outcome::kAbandoned);
  EXPECT_EQ(bytes(id), 0);
  const Version kept = Add(id, "c");
  Settle(id, "c", Outcome::kVerified);
  EXPECT_EQ(bytes(id), 10);
  ASSERT_OK(RemoveVersion(id, "c", kept.version_id));
  EXPECT_EQ(bytes(id), 0);
  EXPECT_EQ(bytes(other), 10);
  EXPECT_EQ(FindClient(other)->resends, 0);
  EXPECT_EQ(Count().abandoned_versions, 1);
  const int64_t abandoned = ListVersions(id, "b", 0, 1)->front().version_id;
  ASSERT_OK(RemoveVersion(id, "b", abandoned));
  EXPECT_EQ(Count().abandoned_versions, 0);
  EXPECT_EQ(bytes(id), 0);
}

TEST_P(CatalogContract, ListsStaleClientsByTheirLastVerifiedFileElseByTheirRegistration) {
  for (const uint8_t id : {1, 2, 3}) Register(absl::StrCat("client ", id), id);
  Add(IdOf<ClientId>(2), "a");
  Settle(IdOf<ClientId>(2), "a", Outcome::kVerified);
  const auto stale = [&](absl::Time since, const ClientId& after, int limit) {
    std::vector<ClientId> ids;
    const std::vector<Client> clients =
        Read([&](Snapshot& snapshot) {
          return snapshot.ListStaleClients(since, At(9), after, limit);
        }).value();
    for (const Client& client : clients) ids.push_back(client.id);
    return ids;
  };
  const auto count = [&](absl::Time since) {
    return Read([&](Snapshot& snapshot) { return snapshot.CountStaleClients(since, At(9)); })
        .value();
  };
  EXPECT_THAT(stale(At(0), ClientId(), 10), ::testing::IsEmpty());
  EXPECT_THAT(stale(At(3), ClientId(), 10),
              ::testing::ElementsAre(IdOf<ClientId>(1), IdOf<ClientId>(3)));
  const absl::Time later = At(3) + absl::Microseconds(1);
  EXPECT_THAT(stale(later, ClientId(), 2),
              ::testing::ElementsAre(IdOf<ClientId>(1), IdOf<ClientId>(2)));
  EXPECT_THAT(stale(later, IdOf<ClientId>(2), 2), ::testing::ElementsAre(IdOf<ClientId>(3)));
  EXPECT_EQ(count(At(0)), 0);
  EXPECT_EQ(count(later), 3);
}

TEST_P(CatalogContract, TakesWhatIsInTheFutureForUnknown) {
  // Both registered at At(0), and the second verified a file at At(3).
  Register("registered", 1);
  const ClientId verified = Register("verified", 2).id;
  Add(verified, "a");
  Settle(verified, "a", Outcome::kVerified);
  const auto count = [&](absl::Time since, absl::Time now) {
    return Read([&](Snapshot& snapshot) { return snapshot.CountStaleClients(since, now); }).value();
  };
  const absl::Time before = At(0) - absl::Hours(1);
  EXPECT_EQ(count(absl::InfinitePast(), At(0)), 0);
  EXPECT_EQ(count(absl::InfinitePast(), before), 2);
  EXPECT_EQ(count(before - absl::Hours(1), before), 2);
  EXPECT_EQ(count(absl::InfinitePast(), At(3) - kMaxClockStep), 0);
  EXPECT_EQ(count(absl::InfinitePast(), At(2) - kMaxClockStep), 1);
  EXPECT_EQ(LastVerifiedTime(before), std::nullopt);
  EXPECT_EQ(LastVerifiedTime(At(2)), At(3));
}

TEST_P(CatalogContract, MendsWhatIsInTheFutureAtTheNextContact) {
  const absl::Time present = absl::FromUnixMicros(absl::ToUnixMicros(SystemClock().Now()));
  const absl::Time ahead = present + absl::Hours(1);
  const auto settle = [&](const ClientId& id, const std::string& file_name, absl::Time time) {
    Add(id, file_name);
    return Run([&](Transaction& transaction) {
      return transaction.SettleVersion({id, file_name, std::nullopt, Outcome::kVerified}, time);
    });
  };
  const ClientId seen = RegisterClient("seen", 1, DuplicateNames::kReject, ahead)->id;
  const ClientId keyed = RegisterClient("keyed", 2, DuplicateNames::kReject, ahead)->id;
  ASSERT_OK(TouchClient(seen, present));
  ASSERT_OK(SetClientKey(keyed, {"key", "sealed"}, Rekey::kPin, present));
  for (const ClientId& id : {seen, keyed}) {
    EXPECT_EQ(FindClient(id)->last_seen_time, present);
    EXPECT_EQ(FindClient(id)->create_time, present);
  }
  ASSERT_OK(settle(keyed, "a", ahead));
  EXPECT_EQ(FindClient(keyed)->last_verified_time, ahead);
  ASSERT_OK(settle(keyed, "b", present));
  EXPECT_EQ(FindClient(keyed)->last_verified_time, present);
  EXPECT_EQ(FindClient(keyed)->last_seen_time, present);
  ASSERT_OK(settle(keyed, "c", At(3)));  // Told later.
  EXPECT_EQ(FindClient(keyed)->last_verified_time, present);
  EXPECT_EQ(FindClient(keyed)->last_seen_time, present);
}

TEST_P(CatalogContract, KeepsTheOrderOfRegistrationsInTheFuture) {
  const absl::Time present = absl::FromUnixMicros(absl::ToUnixMicros(SystemClock().Now()));
  const absl::Time ahead = present + absl::Hours(1);
  const ClientId old = RegisterClient("name", 1, DuplicateNames::kReject, ahead)->id;
  ASSERT_OK(SetClientKey(old, {"key", "sealed"}, Rekey::kPin, ahead));
  ASSERT_OK(RegisterClient("name", 2, DuplicateNames::kAllow, present));
  ASSERT_OK(TouchClient(old, present));
  Register("other", 3);  // Whatever was only remembered is written with the next change.
  EXPECT_EQ(FindClient(old)->create_time, ahead);
  EXPECT_EQ(FindClientByName("name")->id, IdOf<ClientId>(2));
}

TEST_P(CatalogContract, KeepsWhatIsSavedOfEachJob) {
  const auto save = [&](const JobState& job) {
    return Run([&](Transaction& transaction) { return transaction.SaveJob(job); });
  };
  const auto list = [&] {
    return Read([](Snapshot& snapshot) { return snapshot.ListJobs(); }).value();
  };
  EXPECT_TRUE(list().empty());
  JobState scrub;
  scrub.name = "scrub";
  ASSERT_OK(save(scrub));
  const JobState sweep{"sweep", std::string("cur\0sor", 7), At(1), At(2), "it was \xFF full", 3, 4};
  ASSERT_OK(save(sweep));
  std::vector<JobState> jobs = list();
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].name, "scrub");
  EXPECT_EQ(jobs[0].cursor, "");
  EXPECT_EQ(jobs[0].last_start_time, std::nullopt);
  EXPECT_EQ(jobs[0].last_success_time, std::nullopt);
  EXPECT_EQ(jobs[1].name, "sweep");
  EXPECT_EQ(jobs[1].cursor, sweep.cursor);
  EXPECT_EQ(jobs[1].last_start_time, At(1));
  EXPECT_EQ(jobs[1].last_success_time, At(2));
  EXPECT_EQ(jobs[1].last_error, sweep.last_error);
  EXPECT_EQ(jobs[1].last_count, 3);
  EXPECT_EQ(jobs[1].total_count, 4);
  JobState later = sweep;
  later.cursor = "";
  later.last_success_time = At(9);
  ASSERT_OK(save(later));
  jobs = list();
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[1].cursor, "");
  EXPECT_EQ(jobs[1].last_success_time, At(9));
}

TEST_P(CatalogContract, ProbesThatWritingWorksAndChangesNothing) {
  Register("name", 1);
  ASSERT_OK(Run([](Transaction& transaction) { return transaction.ProbeWrite(); }));
  EXPECT_EQ(Count().clients, 1);
}

TEST_P(CatalogContract, KeepsTheNewestNotesOfSizes) {
  const auto add = [&](const SizeNote& note) {
    EXPECT_OK(Run([&](Transaction& transaction) { return transaction.AddSizeNote(note); }));
  };
  const auto list = [&] {
    return Read([](Snapshot& snapshot) { return snapshot.ListSizeNotes(); }).value();
  };
  EXPECT_TRUE(list().empty());
  add({At(1), 10, 20});
  add({At(2), 30, 40});
  EXPECT_EQ(list(), (std::vector<SizeNote>{{At(1), 10, 20}, {At(2), 30, 40}}));
  // The clock was ahead.
  add({At(100'000), 50, 60});
  add({At(2), 70, 80});
  EXPECT_EQ(list(), (std::vector<SizeNote>{{At(1), 10, 20}, {At(2), 70, 80}}));
  for (int i = 3; i <= Snapshot::kMaxSizeNotes; ++i) add({At(i), i, i});
  EXPECT_EQ(list().size(), static_cast<size_t>(Snapshot::kMaxSizeNotes));
  EXPECT_EQ(list().front().time, At(1));
  add({At(1000), 1, 1});
  EXPECT_EQ(list().size(), static_cast<size_t>(Snapshot::kMaxSizeNotes));
  EXPECT_EQ(list().front().time, At(2));
  EXPECT_EQ(list().back().time, At(1000));
}

}  // namespace backup::storage
