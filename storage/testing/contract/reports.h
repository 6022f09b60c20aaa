#pragma once

#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

TEST_P(CatalogContract, CountsWhatItHolds) {
  EXPECT_EQ(Count().clients, 0);
  EXPECT_EQ(Count().last_verified_time, std::nullopt);
  const ClientId id = Register("name", 1).id;
  Register("other", 2);
  Add(id, "a");
  Settle(id, "a", Outcome::kVerified);
  Add(id, "a", IdOf<BlobId>(1));
  Add(id, "b", IdOf<BlobId>(2));
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
  EXPECT_EQ(counts.last_verified_time, At(3));
}

TEST_P(CatalogContract, KnowsWhatEachClientKeepsAndSentAgain) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  const auto bytes = [&](const ClientId& of) { return FindClient(of)->stored_bytes; };
  Add(other, "a");
  Add(id, "a");
  Add(id, "b", IdOf<BlobId>(1));
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
  ASSERT_OK(DeleteVersion(id, "c", kept.version_id));
  EXPECT_EQ(bytes(id), 0);
  EXPECT_EQ(bytes(other), 10);
  EXPECT_EQ(FindClient(other)->resends, 0);
  EXPECT_EQ(Count().abandoned_versions, 1);
  const int64_t abandoned = ListVersions(id, "b", 0, 1)->front().version_id;
  ASSERT_OK(DeleteVersion(id, "b", abandoned));
  EXPECT_EQ(Count().abandoned_versions, 0);
  EXPECT_EQ(bytes(id), 0);
}

TEST_P(CatalogContract, ListsStaleClientsByTheirLastVerifiedFileElseByTheirRegistration) {
  for (const uint8_t id : {1, 2, 3}) Register(absl::StrCat("client ", id), id);
  Add(IdOf<ClientId>(2), "a");
  Settle(IdOf<ClientId>(2), "a", Outcome::kVerified);
  const auto stale = [&](absl::Time since, const ClientId& after, int limit) {
    std::vector<ClientId> ids;
    const std::vector<Client> clients = Read([&](Snapshot& snapshot) {
                                          return snapshot.ListStaleClients(since, after, limit);
                                        }).value();
    for (const Client& client : clients) ids.push_back(client.id);
    return ids;
  };
  const auto count = [&](absl::Time since) {
    return Read([&](Snapshot& snapshot) { return snapshot.CountStaleClients(since); }).value();
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

}  // namespace backup::storage
