mod ends;
mod messages;
mod rig;
mod workflows;
