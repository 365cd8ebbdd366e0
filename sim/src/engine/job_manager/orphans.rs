//! Looking for orphans when a user asks for it: list the store and its unfinished uploads, read the
//! pointers, delete.
//!
//! Flink has nothing like it. What is deleted is decided by [`cutline::storage::orphans`]; whoever leads
//! without being the leader any more finds a pointer that it does not know, and deletes nothing.

use cutline::ids::{Attempt, CheckpointId};
use cutline::storage::handle::FileHandle;
use cutline::storage::layout::{Directory, Path};
use cutline::storage::orphans::{Past, orphans};

use super::{JobManager, Phase, Waiting};
use crate::engine::Engine;
use crate::observe::Observation;
use crate::world::{Answer, Context, Observer, Refusal, Request};

/// What there was when the store was listed.
#[derive(Debug)]
pub(super) struct Listing {
    files: Vec<String>,
    /// Where uploads have begun that nobody completes.
    uploads: Vec<String>,
}

/// A clean-up that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct CleanUp {
    action: u32,
    /// What it deletes and is not deleted yet.
    left: usize,
}

impl JobManager {
    pub(super) fn clean_orphans<O: Observer>(
        &mut self,
        action: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase != Phase::Running || self.clean_up.is_some() {
            return self.answer(action, None, false, ctx);
        }
        self.clean_up = Some(CleanUp { action, left: 0 });
        let request = Request::List { prefix: String::new() };
        self.request(Waiting::Listed, request, ctx);
    }

    pub(super) fn on_listed<O: Observer>(
        &mut self,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match answer {
            Ok(Answer::Paths(files)) => {
                let request = Request::ListUploads { prefix: String::new() };
                self.request(Waiting::UploadsListed { files }, request, ctx);
            }
            Ok(_) | Err(_) => self.end_clean_up(false, ctx),
        }
    }

    pub(super) fn on_uploads_listed<O: Observer>(
        &mut self,
        files: Vec<String>,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match answer {
            Ok(Answer::Paths(uploads)) => {
                let listing = Listing { files, uploads };
                let waiting = Waiting::PointersListed { listing };
                self.request(waiting, Request::ReadPointers, ctx);
            }
            Ok(_) | Err(_) => self.end_clean_up(false, ctx),
        }
    }

    pub(super) fn on_pointers_listed<O: Observer>(
        &mut self,
        listing: Listing,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let knows_all = match answer {
            Ok(Answer::Pointers { pointers, .. }) => {
                pointers.iter().all(|(_, pointer)| self.knows(&pointer.metadata))
            }
            Ok(_) | Err(_) => false,
        };
        if !knows_all || self.phase != Phase::Running {
            return self.end_clean_up(false, ctx);
        }
        let is_known = |text: &str, path: &Path| match path {
            Path::Metadata(Directory::Checkpoint(id)) if self.pending.contains_key(id) => true,
            Path::Metadata(_) | Path::Part(..) => self.knows(text),
        };
        let files = orphans(listing.files, self.past(), is_known);
        let uploads = orphans(listing.uploads, self.past(), is_known);
        let clean_up = self.clean_up.as_mut().expect("it was listed for it");
        clean_up.left = files.len() + uploads.len();
        let action = clean_up.action;
        let found = Observation::OrphansFound { action, files: files.len() as u32 };
        self.observe(found, ctx);
        let deletions = files.into_iter().map(|path| Request::Delete { path });
        for request in
            deletions.chain(uploads.into_iter().map(|path| Request::AbortUpload { path }))
        {
            self.delete_orphan(request, ctx);
        }
        self.end_clean_up_if_done(ctx);
    }

    fn delete_orphan<O: Observer>(&mut self, request: Request, ctx: &mut Context<'_, Engine, O>) {
        self.request(Waiting::OrphanDeleted { request: request.clone() }, request, ctx);
    }

    pub(super) fn on_orphan_deleted<O: Observer>(
        &mut self,
        request: Request,
        done: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if !done {
            return self.delete_orphan(request, ctx);
        }
        let clean_up = self.clean_up.as_mut().expect("it deletes until nothing is left");
        clean_up.left -= 1;
        self.end_clean_up_if_done(ctx);
    }

    fn end_clean_up_if_done<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.clean_up.is_some_and(|clean_up| clean_up.left == 0) {
            self.end_clean_up(true, ctx);
        }
    }

    fn end_clean_up<O: Observer>(&mut self, done: bool, ctx: &mut Context<'_, Engine, O>) {
        let CleanUp { action, .. } = self.clean_up.take().expect("it has begun");
        self.answer(action, None, done, ctx);
    }

    /// Whether a checkpoint that is pending, completed or leaving has this file.
    fn knows(&self, path: &str) -> bool {
        let file = FileHandle { path: path.into(), size: 0 };
        self.coordinator.as_ref().is_some_and(|coordinator| coordinator.refers_to(&file))
    }

    fn past(&self) -> Past {
        let present = self.layout().indices();
        let running = self.execution.attempts[present].iter().min();
        let retained = self.retained().map(|retained| retained.checkpoint.id);
        let known = retained.chain(self.pending.keys().copied());
        Past {
            first_attempt: Attempt(self.execution.first),
            running: Attempt(running.copied().unwrap_or(0)),
            first_checkpoint: self.first_checkpoint,
            newest: known.max().filter(|newest| *newest >= CheckpointId(1)),
        }
    }
}
