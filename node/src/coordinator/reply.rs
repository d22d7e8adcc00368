//! Where what becomes of a job goes, and how it is told at the end.

use std::{collections::VecDeque, sync::Arc};

use p2c2r_scheduler::split::hybrid::{Animation, Forecast};
use tokio::sync::oneshot;

use super::{JobError, JobOutcome, JobSpec, sequence::DeliveredFrame};

/// Where what becomes of a job goes.
pub enum Reply {
    /// The film and its report.
    Outcome(oneshot::Sender<Result<JobOutcome, JobError>>),
    /// Nothing is rendered: only what each way to split such an animation is expected to take.
    Forecasts(Animation, oneshot::Sender<Result<Vec<Forecast>, JobError>>),
}

impl Reply {
    /// Whether nobody waits for it any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Outcome(reply) => reply.is_closed(),
            Self::Forecasts(_, reply) => reply.is_closed(),
        }
    }

    /// The job will not be done.
    pub fn refuse(self, error: JobError) {
        // Whoever went away does not want to know.
        match self {
            Self::Outcome(reply) => drop(reply.send(Err(error))),
            Self::Forecasts(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// A job that is over.
pub struct Concluded {
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// Whole frames that nobody has taken yet.
    pub undelivered: VecDeque<DeliveredFrame>,
    /// Where the rest goes.
    pub reply: Reply,
    /// How it ended.
    pub outcome: Result<JobOutcome, JobError>,
}

impl Concluded {
    /// Tells whoever waits, once all frames that are whole were taken.
    pub async fn tell(self) {
        if let Some(sequence) = &self.spec.sequence {
            for frame in self.undelivered {
                if sequence.deliver.send(frame).await.is_err() {
                    break;
                }
            }
        }
        match (self.reply, self.outcome) {
            (Reply::Outcome(reply), outcome) => drop(reply.send(outcome)),
            (reply @ Reply::Forecasts(..), outcome) => {
                reply.refuse(outcome.err().unwrap_or(JobError::NobodyLeft));
            }
        }
    }
}
