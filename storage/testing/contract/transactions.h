#pragma once

#include <atomic>
#include <future>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;
using testing::StatusIs;

TEST_P(CatalogContract, ShowsATransactionItsOwnChangesAndKeepsThemTogether) {
  const ClientId id = IdOf<ClientId>(1);
  ASSERT_OK(Run([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(
        transaction.RegisterClient("name", id, DuplicateNames::kReject, At(0)).status());
    EXPECT_EQ(transaction.FindClient(id).value().name, "name");
    RETURN_IF_ERROR(transaction.TouchClient(id, At(50)));
    EXPECT_EQ(transaction.Count().value().clients, 1);
    return transaction.RegisterClient("other", IdOf<ClientId>(2), DuplicateNames::kReject, At(0))
        .status();
  }));
  Register("third", 3);
  EXPECT_EQ(FindClient(id).value().last_seen_time, At(50));
  EXPECT_EQ(Count().clients, 3);
}

TEST_P(CatalogContract, UndoesAllOfAWorkThatReturnsAnErrorAndNothingElse) {
  RegisterWithKey("old", 1);
  Add(IdOf<ClientId>(1), "file");
  EXPECT_THAT(
      Run([&](Transaction& transaction) -> absl::Status {
        RETURN_IF_ERROR(
            transaction.RegisterClient("new", IdOf<ClientId>(2), DuplicateNames::kReject, At(1))
                .status());
        RETURN_IF_ERROR(RemoveClient(transaction, IdOf<ClientId>(1)));
        return absl::AbortedError("on purpose");
      }),
      StatusIs(absl::StatusCode::kAborted));
  EXPECT_OK(FindClient(IdOf<ClientId>(1)));
  EXPECT_THAT(FindClient(IdOf<ClientId>(2)), HasReason(Reason::kClientNotFound));
  EXPECT_EQ(Count().versions, 1);
}

TEST_P(CatalogContract, LetsAWorkGoOnAfterAReasonThatItsMethodNames) {
  RegisterWithKey("name", 1);
  ASSERT_OK(Run([&](Transaction& transaction) -> absl::Status {
    EXPECT_THAT(
        transaction.RegisterClient("name", IdOf<ClientId>(2), DuplicateNames::kReject, At(1)),
        HasReason(Reason::kNameTaken));
    Version version;
    version.client_id = IdOf<ClientId>(1);
    version.file_name = "file";
    version.version_id = 1;
    EXPECT_THAT(transaction.AddVersion(version, NewBlob{IdOf<BlobId>(9), 1}, {}),
                HasReason(Reason::kBackendDown));
    EXPECT_THAT(transaction.DeleteVersion(IdOf<ClientId>(1), "file", 1, kForGood),
                HasReason(Reason::kFileNotFound));
    return transaction.RegisterClient("other", IdOf<ClientId>(3), DuplicateNames::kReject, At(1))
        .status();
  }));
  EXPECT_EQ(Count().clients, 2);
  EXPECT_EQ(Count().files, 0);
}

TEST_P(CatalogContract, KeepsNothingOfARunThatIsUndone) {
  int runs = 0;
  const absl::StatusOr<std::string> name =
      Run([&](Transaction& transaction) -> absl::StatusOr<std::string> {
        ++runs;
        const std::string run = absl::StrCat("run ", runs);
        RETURN_IF_ERROR(transaction
                            .RegisterClient(run, IdOf<ClientId>(static_cast<uint8_t>(runs)),
                                            DuplicateNames::kReject, At(0))
                            .status());
        return run;
      });
  ASSERT_OK(name);
  EXPECT_EQ(*name, absl::StrCat("run ", runs)) << "not what the last run returned";
  EXPECT_EQ(FindClientByName(*name).value().id, IdOf<ClientId>(static_cast<uint8_t>(runs)));
  EXPECT_EQ(Count().clients, 1);
}

TEST_P(CatalogContract, RunsWorksInTheOrderInWhichTheyAreSubmitted) {
  constexpr int kWorks = 300;
  JobState counter;
  counter.name = "counter";
  ASSERT_OK(Run([&](Transaction& transaction) { return transaction.SaveJob(counter); }));
  std::promise<void> all_done;
  std::atomic<int> done = 0;
  for (int i = 0; i < kWorks; ++i) {
    catalog_->Submit(
        [i](Transaction& transaction) -> absl::Status {
          ASSIGN_OR_RETURN(std::vector<JobState> jobs, transaction.ListJobs());
          EXPECT_EQ(jobs[0].last_count, i);
          jobs[0].last_count = i + 1;
          return transaction.SaveJob(jobs[0]);
        },
        [&](const absl::Status& result) {
          EXPECT_OK(result);
          if (++done == kWorks) all_done.set_value();
        });
  }
  all_done.get_future().wait();
}

TEST_P(CatalogContract, TellsOnceWhatBecameOfEachWork) {
  std::vector<std::promise<absl::Status>> results(3);
  const auto submit = [&](size_t i, const absl::Status& result) {
    catalog_->Submit(
        [i, result](Transaction& transaction) -> absl::Status {
          RETURN_IF_ERROR(transaction
                              .RegisterClient(absl::StrCat("client ", i),
                                              IdOf<ClientId>(static_cast<uint8_t>(i + 1)),
                                              DuplicateNames::kReject, At(0))
                              .status());
          return result;
        },
        [&results, i](const absl::Status& status) { results[i].set_value(status); });
  };
  submit(0, absl::OkStatus());
  submit(1, absl::AbortedError("on purpose"));
  submit(2, absl::OkStatus());
  EXPECT_OK(results[0].get_future().get());
  EXPECT_THAT(results[1].get_future().get(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_OK(results[2].get_future().get());
  EXPECT_OK(FindClientByName("client 0"));
  EXPECT_THAT(FindClientByName("client 1"), HasReason(Reason::kClientNotFound));
  EXPECT_OK(FindClientByName("client 2"));
}

TEST_P(CatalogContract, TakesWorksFromTheDoneOfAnother) {
  std::promise<absl::Status> finished;
  const auto register_client = [](uint8_t id) {
    return [id](Transaction& transaction) {
      return transaction
          .RegisterClient(absl::StrCat("client ", id), IdOf<ClientId>(id), DuplicateNames::kReject,
                          At(0))
          .status();
    };
  };
  catalog_->Submit(register_client(1), [&](const absl::Status& first) {
    EXPECT_OK(first);
    catalog_->Submit(register_client(2),
                     [&](const absl::Status& second) { finished.set_value(second); });
  });
  EXPECT_OK(finished.get_future().get());
  EXPECT_EQ(Count().clients, 2);
}

TEST_P(CatalogContract, ShowsAReaderAllOfATransactionOrNothing) {
  const ClientId id = Register("name", 1).id;
  std::atomic<bool> ended = false;
  std::jthread writer([&] {
    for (int i = 0; i < 50; ++i) {
      // Two files come together and go together.
      const Version a = MakeVersion(id, "a");
      const Version b = MakeVersion(id, "b");
      EXPECT_OK(Run([&](Transaction& transaction) -> absl::Status {
        RETURN_IF_ERROR(transaction.AddVersion(a, std::string("a"), {}).status());
        return transaction.AddVersion(b, std::string("b"), {}).status();
      }));
      EXPECT_OK(Run([&](Transaction& transaction) -> absl::Status {
        RETURN_IF_ERROR(transaction.DeleteVersion(id, "a", a.version_id, kForGood));
        return transaction.DeleteVersion(id, "b", b.version_id, kForGood);
      }));
    }
    ended = true;
  });
  while (!ended) {
    EXPECT_OK(Read([&](Snapshot& snapshot) -> absl::Status {
      ASSIGN_OR_RETURN(const Counts counts, snapshot.Count());
      EXPECT_EQ(counts.files % 2, 0);
      ASSIGN_OR_RETURN(const std::vector<File> files, snapshot.ListFiles(id, "", 10));
      EXPECT_EQ(std::ssize(files), counts.files) << "two states in one snapshot";
      return absl::OkStatus();
    }));
  }
}

// Threads.

TEST_P(CatalogContract, AddsVersionsFromManyThreadsWithoutLosingOne) {
  constexpr int kThreads = 16;
  constexpr int kVersions = 10;
  for (int t = 0; t < kThreads; ++t)
    Register(absl::StrCat("client ", t), static_cast<uint8_t>(t + 1));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const ClientId id = IdOf<ClientId>(static_cast<uint8_t>(t + 1));
        for (int i = 0; i < kVersions; ++i) {
          const Version version = Add(id, absl::StrCat("file ", i % 5));
          EXPECT_OK(FindVersion(id, version.file_name, version.version_id));
          // An error in between must undo nothing but itself.
          EXPECT_THAT(RemoveVersion(id, "none", 1), HasReason(Reason::kFileNotFound));
        }
      });
    }
  }
  const Counts counts = Count();
  EXPECT_EQ(counts.versions, kThreads * kVersions);
  EXPECT_EQ(counts.files, kThreads * 5);
  const auto all = Read([](Snapshot& snapshot) { return snapshot.ScanVersions(0, 10'000); });
  EXPECT_EQ(all.value().size(), static_cast<size_t>(kThreads * kVersions));
}

TEST_P(CatalogContract, AddsAnUploadOnceThoughManyThreadsSendIt) {
  const ClientId id = Register("name", 1).id;
  std::vector<int64_t> answers(16);
  {
    std::vector<std::jthread> threads;
    for (int64_t& answer : answers) {
      threads.emplace_back(
          [&] { answer = Add(id, "file", std::string("bytes"), IdOf<UploadId>(1)).version_id; });
    }
  }
  EXPECT_EQ(std::set<int64_t>(answers.begin(), answers.end()).size(), 1u);
  EXPECT_EQ(Count().versions, 1);
}

}  // namespace backup::storage
